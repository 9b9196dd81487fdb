"""Activations: as layers, as the `activation` argument of other layers, and as operations."""

from typing import Any

import keras
import numpy as np

from converters.graph.operations import Graph
from converters.graph.rules.registry import Call, RuleError, rules
from keras_shufflenet import keras_internals
from keras_shufflenet.permutations import PermutedTensor

_LAYERS = keras.layers
# Activations that are one operator, by Keras's name.
_OPERATORS = {
    "relu": "relu",
    "relu6": "relu6",
    "elu": "elu",
    "hard_silu": "hard_swish",
    "hard_swish": "hard_swish",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
    "tanh": "tanh",
}
# Keras's own slopes where an activation is named by a string.
_LEAKY_SLOPE = 0.2


def activate(graph: Graph, x: PermutedTensor, activation: Any, name: str) -> PermutedTensor:
    """Adds a Keras activation function.

    Args:
      activation: the function, or its name; None and "linear" add nothing.
      name: the operators' name, or the beginning of it.

    Raises:
      RuleError: the function is not one of Keras's that have an operator.
    """
    function = keras.activations.get(activation)
    kind = getattr(function, "__name__", "")
    if function is not getattr(keras.activations, kind, None):
        raise RuleError(f"the activation {kind or activation!r} is not one of Keras's")
    if kind == "linear":
        return x
    if kind == "gelu":
        return graph.simple("gelu", [x], name, approximate=False)
    if kind == "leaky_relu":
        return graph.simple("leaky_relu", [x], name, slope=_LEAKY_SLOPE)
    if kind in ("silu", "swish"):
        return silu(graph, x, name)
    if kind == "hard_sigmoid":
        return hard_sigmoid(graph, x, name)
    if kind not in _OPERATORS:
        raise RuleError(f"the activation {kind!r} has no operator")
    if kind == "softmax":
        x = graph.in_order(x, f"{name}_order")
    return graph.simple(_OPERATORS[kind], [x], name)


def silu(graph: Graph, x: PermutedTensor, name: str) -> PermutedTensor:
    """Adds `x * sigmoid(x)`: two operators, each with an int8 scale of its own."""
    gate = graph.simple("sigmoid", [x], f"{name}_sigmoid")
    return graph.combine("multiply", [x, gate], name)


def hard_sigmoid(graph: Graph, x: PermutedTensor, name: str) -> PermutedTensor:
    """Adds `relu6(x + 3) / 6`."""
    x = graph.affine(x, f"{name}_shift", 1, 3)
    x = graph.simple("relu6", [x], f"{name}_relu6")
    return graph.affine(x, name, 1 / 6, 0)


def leaky_relu(graph: Graph, x: PermutedTensor, slope: float, name: str) -> PermutedTensor:
    """Adds a ReLU with a slope below zero; without a slope a plain one."""
    if not slope:
        return graph.simple("relu", [x], name)
    return graph.simple("leaky_relu", [x], name, slope=float(slope))


@rules(_LAYERS.Activation)
def _activation(call: Call) -> PermutedTensor:
    return activate(call.graph, call.x, call.layer.activation, call.name)


@rules(_LAYERS.ReLU)
def _relu(call: Call) -> PermutedTensor:
    layer = call.layer
    slope, highest = float(layer.negative_slope or 0), layer.max_value
    if layer.threshold:
        raise RuleError(f"threshold={layer.threshold} has no operator")
    if highest is None:
        return leaky_relu(call.graph, call.x, slope, call.name)
    if highest == 6 and not slope:
        return call.graph.simple("relu6", [call.x], call.name)
    raise RuleError(f"max_value={highest} with negative_slope={slope} has no operator")


@rules(_LAYERS.LeakyReLU)
def _leaky_relu(call: Call) -> PermutedTensor:
    return leaky_relu(call.graph, call.x, float(call.layer.negative_slope), call.name)


@rules(_LAYERS.PReLU)
def _prelu(call: Call) -> PermutedTensor:
    """`relu(x) - alpha * relu(-x)`, whose parts every target has in int8."""
    graph, x, name = call.graph, call.x, call.name
    alpha = np.asarray(keras.ops.convert_to_numpy(call.layer.alpha))
    if alpha.size != alpha.shape[-1]:
        raise RuleError("its slopes differ from pixel to pixel; share them: shared_axes=[1, 2]")
    positive = graph.simple("relu", [x], f"{name}_positive")
    negative = graph.affine(x, f"{name}_negated", -1, 0)
    negative = graph.simple("relu", [negative], f"{name}_negative")
    negative = graph.affine(negative, f"{name}_slope", -alpha.ravel(), 0)
    return graph.combine("add", [positive, negative], name)


@rules(_LAYERS.ELU)
def _elu(call: Call) -> PermutedTensor:
    _check_alpha(call.layer)
    return call.graph.simple("elu", [call.x], call.name)


def _check_alpha(layer: Any) -> None:
    if layer.alpha != 1:
        raise RuleError(f"alpha={layer.alpha} has no operator")


@rules(_LAYERS.Softmax)
def _softmax(call: Call) -> PermutedTensor:
    _check_last_axis(call)
    x = call.graph.in_order(call.x, f"{call.name}_order")
    return call.graph.simple("softmax", [x], call.name)


def _check_last_axis(call: Call) -> None:
    if call.layer.axis not in (-1, len(call.shape)):
        raise RuleError(f"axis={call.layer.axis}: only the last axis has an operator")


@rules(*keras_internals.ACTIVATION_OPERATIONS)
def _operation(call: Call) -> PermutedTensor:
    kind = keras_internals.ACTIVATION_OPERATIONS[type(call.layer)]
    if kind == "leaky_relu":
        return leaky_relu(call.graph, call.x, call.layer.negative_slope, call.name)
    if kind == "gelu":
        approximate = bool(call.layer.approximate)
        return call.graph.simple("gelu", [call.x], call.name, approximate=approximate)
    if kind == "elu":
        _check_alpha(call.layer)
    if kind == "softmax":
        _check_last_axis(call)
    return activate(call.graph, call.x, kind, call.name)
