"""A graph as ncnn needs it: channels first, explicit pads, one split for all slices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.graph.operations import Graph
from converters.graph.operator import Folded, Op

POOL_SIZE, POOL_STRIDE = 3, 2


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
      kind: "input", "conv", "dense", "add", "mean", "max_pool", "average_pool", "split", "concat"
        or "shuffle"; a depthwise convolution is a "conv" with as many groups as channels.
      inputs, outputs: names of tensors.
      shape: (channels, height, width) of the output; of a "split", of its input.
      weights: kernel (outputs, inputs / groups, height, width) or (outputs, inputs), and bias.
      settings: of a "conv" `stride`, `groups`, `activation` and `pads` (top, left, bottom, right);
        of a pool `pads` and `count_pads` (whether an average counts them); of a "split" `sizes`;
        of a "shuffle" `groups`; of an "add" `activation`.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shape: tuple[int, int, int]
    weights: Folded | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def nodes(graph: Graph) -> list[Node]:
    """Returns the operators of a graph in the order of execution.

    Raises:
      ValueError: an operator that plain ShuffleNets do not have.

    Examples:
      >>> kinds = Counter(node.kind for node in nodes(plain_graph(model)))
    """
    found = []
    for op in graph.ops.values():
        if op.kind not in _READERS:
            raise ValueError(f"{op.name!r} is of the kind {op.kind!r}, which only LiteRT supports")
        found.append(_READERS[op.kind](graph, op))
    return [node for node in found if node is not None]


def _node(
    graph: Graph, op: Op, kind: str | None = None, weights: Folded | None = None, **settings: Any
) -> Node:
    """Returns the node of an operator; a pad before it is part of its settings."""
    inputs = tuple(_unpadded(graph, name) for name in op.inputs)
    shape = (op.channels, *_extents(graph, op.name))
    return Node(kind or op.kind, inputs, (op.name,), shape, weights, settings)


def _unpadded(graph: Graph, name: str) -> str:
    return graph.ops[name].inputs[0] if graph.ops[name].kind == "pad" else name


def _extents(graph: Graph, name: str) -> tuple[int, int]:
    """Returns the height and width of an operator's output."""
    shape = graph.ops[name].shape
    return shape[:2] if len(shape) == 3 else (1, 1)


def _pads(graph: Graph, op: Op, size: int) -> tuple[int, int, int, int]:
    """Returns the pads of a window of `size`: those of a pad before it, or of "same"."""
    (source,) = op.inputs
    if graph.ops[source].kind == "pad":
        return (1, 1, 1, 1)
    extents = zip(_extents(graph, source), _extents(graph, op.name), strict=True)
    totals = [max((n - 1) * op.settings["stride"] + size - before, 0) for before, n in extents]
    # The odd one goes to the end.
    return (*[total // 2 for total in totals], *[total - total // 2 for total in totals])


def _conv(graph: Graph, op: Op) -> Node:
    depthwise = op.kind == "depthwise"
    kernel = op.weights.kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
    return _node(
        graph,
        op,
        "conv",
        Folded(np.ascontiguousarray(kernel), op.weights.bias),
        pads=_pads(graph, op, kernel.shape[-1]),
        stride=op.settings["stride"],
        groups=op.channels if depthwise else op.settings["groups"],
        activation=None if depthwise else op.settings["activation"],
    )


def _dense(graph: Graph, op: Op) -> Node:
    kernel = np.ascontiguousarray(op.weights.kernel.T)
    return _node(graph, op, weights=Folded(kernel, op.weights.bias))


def _pool(graph: Graph, op: Op) -> Node:
    # For a maximum after a ReLU, a pad's zeros and a pool's own minus infinity are the same.
    padded = graph.ops[op.inputs[0]].kind == "pad"
    return _node(graph, op, pads=_pads(graph, op, POOL_SIZE), count_pads=padded)


def _slice(graph: Graph, op: Op) -> Node | None:
    """Returns one split for all slices of a tensor, at the first of them."""
    slices = [o for o in graph.ops.values() if o.kind == "slice" and o.inputs == op.inputs]
    if op is not slices[0]:
        return None
    (source,) = op.inputs
    channels = graph.ops[source].channels
    starts = [other.settings["start"] for other in slices]
    stops = [other.settings["stop"] for other in slices]
    if [*starts, channels] != [0, *stops]:
        raise ValueError(f"the slices of {source!r} leave gaps: {starts} to {stops}")
    outputs = tuple(other.name for other in slices)
    sizes = tuple(other.channels for other in slices)
    shape = (channels, *_extents(graph, source))
    return Node("split", op.inputs, outputs, shape, None, {"sizes": sizes})


_READERS: dict[str, Callable[[Graph, Op], Node | None]] = {
    "input": _node,
    "pad": lambda graph, op: None,
    "conv": _conv,
    "depthwise": _conv,
    "dense": _dense,
    "add": lambda graph, op: _node(graph, op, activation=op.settings["activation"]),
    "mean": _node,
    "max_pool": _pool,
    "average_pool": _pool,
    "slice": _slice,
    "concat": _node,
    "transpose": lambda graph, op: _node(graph, op, "shuffle", groups=op.settings["groups"]),
}
