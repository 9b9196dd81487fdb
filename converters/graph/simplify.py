"""Moves what only scales channels, and activations, into the operators beside them.

A rule writes what its layer computes, one operator after the other; this makes BatchNormalization
and the normalization of the input part of convolutions, and activations part of what they follow.
"""

from collections import Counter
from dataclasses import replace

import numpy as np

from converters.graph.operations import Graph
from converters.graph.operator import Folded, Op, free_name
from converters.graph.shapes import map_shape

# The axis of a kernel's output channels and of its input channels. A depthwise kernel has both in
# its last two axes.
_OUTPUTS = {"conv": 3, "conv_transpose": 2, "dense": 1}
_INPUTS = {"conv": 2, "dense": 0}
# The operators that TFLite computes an activation with.
_FUSED = ("relu", "relu6")
_FUSING = ("conv", "depthwise", "dense", "conv_transpose", "add", "subtract", "multiply")


def simplify(graph: Graph) -> Graph:
    """Returns a graph with fewer operators that computes the same.

    `affine` operators become part of the convolution before or after them, if nothing else needs
    the tensor between them; what is left of them becomes a depthwise 1x1 convolution.
    """
    uses = Counter(name for op in graph.ops.values() for name in op.inputs)
    uses.update(graph.outputs)
    ops: dict[str, Op] = {}
    names: dict[str, str] = {}
    for op in graph.ops.values():
        op = replace(op, inputs=tuple(names.get(name, name) for name in op.inputs))
        source = ops.get(op.inputs[0]) if op.inputs else None
        if source is not None and uses[source.name] == 1:
            if (merged := _after(source, op)) is not None:
                ops[source.name] = _of_both(merged, source, op)
                names[op.name] = source.name
                uses[source.name] = uses[op.name]
                continue
            if (merged := _before(source, op)) is not None:
                del ops[source.name]
                op = _of_both(merged, source, op)
            elif _only_scales(source) and op.kind == "pad":
                # A border of zeros stays zero, so the factors can go on to what follows.
                del ops[source.name]
                ops[op.name] = replace(op, inputs=source.inputs)
                names[op.name], uses[source.name] = source.name, uses[op.name]
                op = replace(source, inputs=(op.name,), shape=op.shape)
        ops[op.name] = op
    ops = _as_convolutions(ops)
    outputs = tuple(names.get(name, name) for name in graph.outputs)
    return Graph({name: _rounded(op, ops) for name, op in ops.items()}, outputs)


def _of_both(merged: Op, source: Op, op: Op) -> Op:
    """Returns an operator that computes the layers of two."""
    return replace(merged, layers=tuple(dict.fromkeys((*source.layers, *op.layers))))


def _after(source: Op, op: Op) -> Op | None:
    """Returns `source` with `op`, which follows it, as part of it; None if that is impossible."""
    if source.activation is not None:
        return None
    if op.kind in _FUSED and source.kind in _FUSING:
        return replace(source, settings={**source.settings, "activation": op.kind})
    if op.kind == "reorder":
        return _reordered(source, op)
    if op.kind != "affine" or source.weights is None:
        return None
    factor, shift = op.weights
    kernel, bias = (np.asarray(values, np.float64) for values in source.weights)
    if source.kind == "affine":
        weights = Folded(kernel * factor, bias * factor + shift)
    elif source.kind == "depthwise":
        weights = Folded(kernel * factor.reshape(kernel.shape[2:]), bias * factor + shift)
    elif source.kind in _OUTPUTS:
        shape = np.ones(kernel.ndim, int)
        shape[_OUTPUTS[source.kind]] = -1
        weights = Folded(kernel * factor.reshape(shape), bias * factor + shift)
    else:
        return None
    return replace(source, weights=weights)


def _reordered(source: Op, op: Op) -> Op | None:
    """Returns a convolution that writes its channels in the order that `op` makes of them."""
    if source.kind not in _OUTPUTS or source.settings.get("groups", 1) != 1:
        return None
    positions = list(op.settings["positions"])
    kernel = np.take(source.weights.kernel, positions, _OUTPUTS[source.kind])
    return replace(source, shape=op.shape, weights=Folded(kernel, source.weights.bias[positions]))


def _before(source: Op, op: Op) -> Op | None:
    """Returns `op` with an `affine` before it as part of it; None if that is impossible.

    A summand cannot pass a border of zeros: it would have to be there, too.
    """
    if source.kind != "affine" or op.kind not in (*_INPUTS, "depthwise"):
        return None
    factor, shift = source.weights
    if shift.any() and not _sees_no_border(op):
        return None
    kernel, bias = (np.asarray(values, np.float64) for values in op.weights)
    if op.kind == "depthwise":
        bias = bias + (kernel.sum((0, 1)) * shift[:, np.newaxis]).ravel()
        kernel = kernel * factor[:, np.newaxis]
    elif op.kind == "dense":
        bias, kernel = bias + shift @ kernel, kernel * factor[:, np.newaxis]
    else:
        factor, shift = (_per_kernel(values, op) for values in (factor, shift))
        bias = bias + (kernel * shift).sum((0, 1, 2))
        kernel = kernel * factor
    return replace(op, inputs=source.inputs, weights=Folded(kernel, bias))


def _only_scales(op: Op) -> bool:
    return op.kind == "affine" and not op.weights.bias.any()


def _sees_no_border(op: Op) -> bool:
    return op.kind == "dense" or op.settings["padding"] == "valid" or _is_pointwise(op)


def _is_pointwise(op: Op) -> bool:
    return op.weights.kernel.shape[:2] == (1, 1)


def _per_kernel(values: np.ndarray, op: Op) -> np.ndarray:
    """Returns one value per input channel of every output channel, [inputs, outputs]."""
    groups = op.settings["groups"]
    blocks = values.reshape(groups, -1).T
    return np.repeat(blocks, op.channels // groups, axis=1)


def _as_convolutions(ops: dict[str, Op]) -> dict[str, Op]:
    """Replaces each `affine` and `reorder` that no convolution could take by a 1x1 convolution."""
    result = {}
    for op in ops.values():
        if op.kind in ("affine", "reorder"):
            result.update(_as_convolution(op, ops))
        else:
            result[op.name] = op
    return result


def _as_convolution(op: Op, ops: dict[str, Op]) -> dict[str, Op]:
    shape = ops[op.inputs[0]].shape
    settings = {"stride": 1, "padding": "same", "dilation": 1}
    if op.kind == "affine":
        scale, shift = op.weights
        weights, kind = Folded(scale.reshape(1, 1, -1, 1), shift), "depthwise"
    else:
        matrix = np.eye(shape[-1])[:, list(op.settings["positions"])]
        weights, kind = Folded(matrix[np.newaxis, np.newaxis], np.zeros(op.channels)), "conv"
        settings |= {"groups": 1}
    settings |= {"activation": None}
    conv = Op(op.name, kind, op.inputs, op.shape, weights, settings, layers=op.layers)
    if len(op.shape) == 3:
        return {op.name: conv}
    # Of points or of single values: as a map and back.
    before, middle = (free_name(f"{op.name}_{part}", ops) for part in ("map", "conv"))
    as_map = Op(before, "reshape", op.inputs, map_shape(shape), layers=op.layers)
    conv = replace(conv, name=middle, inputs=(before,), shape=map_shape(op.shape))
    back = Op(op.name, "reshape", (middle,), op.shape, layers=op.layers)
    return {each.name: each for each in (as_map, conv, back)}


def _rounded(op: Op, ops: dict[str, Op]) -> Op:
    """Returns the operator with float32 weights, and without a twin that is not one any more."""
    if op.weights is None:
        return replace(op, shares=None)
    kernel, bias = (np.asarray(values, np.float32) for values in op.weights)
    weights = Folded(kernel, _varied(bias))
    twin = ops.get(op.shares)
    same = (
        twin is not None
        and twin.activation == op.activation
        and all(
            np.array_equal(np.asarray(theirs, np.float32), mine)
            for theirs, mine in zip(twin.weights, (kernel, bias), strict=True)
        )
    )
    return replace(op, weights=weights, shares=op.shares if same else None)


def _varied(bias: np.ndarray) -> np.ndarray:
    """Returns the bias, changed in its last bit if all channels have the same.

    TFLiteConverter rounds a constant of equal values with the first channel's scale for all
    channels, which is wrong wherever the channels' scales differ.
    """
    if len(bias) == 1 or not bias.any() or (bias != bias[0]).any():
        return bias
    return np.concatenate([np.nextafter(bias[:1], np.float32(np.inf)), bias[1:]])
