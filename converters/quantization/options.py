"""Mixed precision: layers that stay float32, and layers whose weights have a single scale.

The choices are written into the deployment graph, so that calibration, fake quantization and
conversion see them without being told.
"""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from common.cli import UserError
from converters.graph.operations import Graph
from converters.graph.operator import Op
from converters.graph.scales import SAME_SCALE

# Operators whose int8 weights have a scale for each output channel.
_PER_CHANNEL = ("conv", "depthwise")


@dataclass(frozen=True)
class QuantizationOptions:
    """Exceptions from int8 with one scale per output channel, by the names of the Keras layers.

    A layer inside a nested model is named by its own name; the nested model's name means all of its
    layers. What is part of a layer's operator (BatchNormalization, an activation) goes with it.

    Attributes:
      keep_float: layers that compute in float32 in the file, with a DEQUANTIZE before them and a
        QUANTIZE after them; accelerators that only take int8 leave them to the CPU. A layer that
        only moves values, such as a pool, is in float32 if its inputs are.
      per_tensor: convolutions whose weights have one scale instead of one per output channel, for
        devices without such kernels.

    Raises:
      TypeError: an attribute is a single string.

    Examples:
      >>> QuantizationOptions(keep_float=["predictions"])
      QuantizationOptions(keep_float=('predictions',), per_tensor=())
    """

    keep_float: Sequence[str] = ()
    per_tensor: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("keep_float", "per_tensor"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise TypeError(f"`{name}` must be a list of layers' names. Received: {value!r}")
            object.__setattr__(self, name, tuple(value))


def apply_options(graph: Graph, options: QuantizationOptions) -> Graph:
    """Returns the deployment graph with the options in it; the graph itself is not changed.

    Args:
      graph: as `converters.graph.deployment.deployment_graph` returns it.
      options: the layers' names.

    Raises:
      UserError: a layer has no operator in the graph, or not one with a scale per output channel;
        the message has the names that are similar.

    Examples:
      >>> graph = apply_options(deployment_graph(model), QuantizationOptions(keep_float=["head"]))
    """
    floats = _operators(graph.ops.values(), options.keep_float, "keep_float")
    convolutions = [op for op in graph.ops.values() if op.kind in _PER_CHANNEL]
    per_tensor = _operators(convolutions, options.per_tensor, "per_tensor")
    ops: dict[str, Op] = {}
    for op in graph.ops.values():
        # Operators that move integers lose nothing.
        moves = SAME_SCALE[op.kind] and not all(ops[name].is_float for name in op.inputs)
        keep_float = op.name in floats and not moves
        ops[op.name] = _marked(op, keep_float=keep_float, per_tensor=op.name in per_tensor)
    ops = {name: _unshared(op, ops) for name, op in ops.items()}
    return _with_borders(Graph(ops, graph.outputs))


def _operators(ops: Collection[Op], layers: Sequence[str], option: str) -> set[str]:
    """Returns the names of the operators that compute these layers."""
    known = list(dict.fromkeys(layer for op in ops for layer in op.layers))
    for layer in layers:
        if layer not in known:
            near = difflib.get_close_matches(layer, known, n=3) or known[:8]
            raise UserError(
                f"`{option}` names the layer {layer!r}, which has no such operator in the "
                f"deployment graph; layers that have: {', '.join(near)}"
            )
    return {op.name for op in ops if set(layers) & set(op.layers)}


def _marked(op: Op, **marks: bool) -> Op:
    wanted = {name: True for name, value in marks.items() if value}
    return replace(op, settings={**op.settings, **wanted}) if wanted else op


def _unshared(op: Op, ops: dict[str, Op]) -> Op:
    """Returns an operator that shares no weights with one of another precision."""
    twin = ops.get(op.shares)
    if twin is None or (twin.is_float, twin.per_tensor) == (op.is_float, op.per_tensor):
        return op
    return replace(op, shares=None)


def _with_borders(graph: Graph) -> Graph:
    """Returns the graph with an operator wherever int8 becomes float32, and the other way round."""
    ops: dict[str, Op] = {}
    for op in graph.ops.values():
        kind = "dequantize" if op.is_float else "quantize"
        inputs = []
        for name in op.inputs:
            crossed = name if ops[name].is_float == op.is_float else f"{name}_{kind}"
            if crossed not in ops:
                border = Op(crossed, kind, (name,), ops[name].shape)
                ops[crossed] = _marked(border, keep_float=op.is_float)
            inputs.append(crossed)
        ops[op.name] = replace(op, inputs=tuple(inputs))
    return Graph(ops, graph.outputs)
