"""Layers and operations of several tensors, and arithmetic with constants."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from converters.graph.operations import Graph
from converters.graph.rules.registry import Call, RuleError, rules
from keras_shufflenet import keras_internals
from keras_shufflenet.permutations import PermutedTensor

_LAYERS = keras.layers
_COMBINED = {
    _LAYERS.Add: "add",
    _LAYERS.Subtract: "subtract",
    _LAYERS.Multiply: "multiply",
    _LAYERS.Maximum: "maximum",
    _LAYERS.Minimum: "minimum",
}


@rules(*_COMBINED)
def _combine(call: Call) -> PermutedTensor:
    return combined(call.graph, _COMBINED[type(call.layer)], call.inputs, call.name)


def combined(
    graph: Graph, kind: str, tensors: Sequence[PermutedTensor], name: str
) -> PermutedTensor:
    """Adds operators of two tensors each, until all are combined.

    Raises:
      RuleError: the shapes do not fit together.
    """
    x, *others = tensors
    try:
        for index, other in enumerate(others):
            last = index == len(others) - 1
            x = graph.combine(kind, [x, other], name if last else f"{name}_{index}")
    except ValueError as error:
        raise RuleError(str(error)) from error
    return x


@rules(_LAYERS.Average)
def _average(call: Call) -> PermutedTensor:
    total = combined(call.graph, "add", call.inputs, f"{call.name}_sum")
    return call.graph.affine(total, call.name, 1 / len(call.inputs), 0)


@rules(_LAYERS.Concatenate)
def _concatenate(call: Call) -> PermutedTensor:
    return joined(call, call.layer.axis)


def joined(call: Call, axis: int) -> PermutedTensor:
    """Adds a concatenation; `axis` counts the batch, as Keras's does."""
    rank = len(call.shape)
    axis = axis + rank if axis < 0 else axis - 1
    if not 0 <= axis < rank:
        raise RuleError("it concatenates along the batch")
    if axis < rank - 1:
        tensors = call.graph.aligned(call.inputs, call.name)
        return call.graph.concat_along(tensors, call.name, axis)
    shifted, channels = [], 0
    for x in call.inputs:
        shifted.append(x.shifted(channels))
        channels += x.channels
    return call.graph.concat(shifted, call.name, call.lowering.most_concatenated)


@rules(*keras_internals.CONCATENATE_OPERATIONS)
def _concatenate_operation(call: Call) -> PermutedTensor:
    return joined(call, call.layer.axis)


@rules(*keras_internals.ARITHMETIC_OPERATIONS)
def _arithmetic(call: Call) -> PermutedTensor:
    kind = keras_internals.ARITHMETIC_OPERATIONS[type(call.layer)]
    left, right = call.arguments[:2]
    if isinstance(left, PermutedTensor) and isinstance(right, PermutedTensor):
        if kind == "divide":
            raise RuleError("it divides one tensor by another")
        return combined(call.graph, kind, [left, right], call.name)
    tensor_first = isinstance(left, PermutedTensor)
    value = _constant(call, right if tensor_first else left)
    scale, shift = _affine(kind, value, tensor_first)
    return call.graph.affine(call.x, call.name, scale, shift)


def _affine(kind: str, value: np.ndarray, tensor_first: bool) -> tuple[Any, Any]:
    """Returns the factor and the summand of `x + value`, `value - x` and so on."""
    if kind == "add":
        return 1, value
    if kind == "subtract":
        return (1, -value) if tensor_first else (-1, value)
    if kind == "multiply":
        return value, 0
    if kind == "divide" and tensor_first:
        return 1 / value, 0
    raise RuleError(f"{kind} with a constant has no operator")


def _constant(call: Call, value: Any) -> np.ndarray:
    """Returns a number, or one number a channel; neither gives the tensor another shape."""
    value = np.asarray(keras.ops.convert_to_numpy(value), np.float64)
    shape = call.shape
    if value.ndim > len(shape) + 1 or (value.ndim and value.shape[-1] not in (1, shape[-1])):
        raise RuleError(f"a constant of shape {value.shape} makes {shape} another shape")
    if value.size != (value.shape[-1] if value.ndim else 1):
        raise RuleError(f"a constant of shape {value.shape} differs from pixel to pixel")
    return value.ravel() if value.ndim else value


@rules(_LAYERS.Rescaling)
def _rescaling(call: Call) -> PermutedTensor:
    scale, offset = (_constant(call, value) for value in (call.layer.scale, call.layer.offset))
    return call.graph.affine(call.x, call.name, scale, offset)


@rules(_LAYERS.Normalization)
def _normalization(call: Call) -> PermutedTensor:
    layer = call.layer
    if layer.invert or layer.mean is None:
        raise RuleError("invert=True or no mean yet: call adapt() before the conversion")
    mean, variance = (_constant(call, value) for value in (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    return call.graph.affine(call.x, call.name, 1 / deviation, -mean / deviation)
