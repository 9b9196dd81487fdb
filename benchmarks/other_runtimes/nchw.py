"""A graph as ONNX and ncnn need it: channels first, explicit pads, one split for all slices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.graph.operations import Folded, Graph, Op

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
    reader = _Reader(graph)
    for op in graph.ops.values():
        if op.kind not in _READERS:
            raise ValueError(f"{op.name!r} is of the kind {op.kind!r}, which only LiteRT supports")
        reader.follow(op)
        _READERS[op.kind](reader, op)
    return reader.nodes


class _Reader:
    """Follows height and width, and the pads that convolutions and pools absorb."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.nodes: list[Node] = []
        self.extents: dict[str, tuple[int, int]] = {}
        # By name of a "pad" operator, the tensor that it pads.
        self.padded: dict[str, str] = {}

    def follow(self, op: Op) -> None:
        """Records the height and width of the output, without the zeros of a pad."""
        if op.kind == "input":
            self.extents[op.name] = op.settings["shape"][:2]
        else:
            stride = _stride(op)
            height, width = self.extents[op.inputs[0]]
            self.extents[op.name] = (-(-height // stride), -(-width // stride))

    def add(
        self, op: Op, kind: str | None = None, weights: Folded | None = None, **settings: Any
    ) -> None:
        inputs = tuple(self.padded.get(name, name) for name in op.inputs)
        shape = (op.channels, *self.extents[op.name])
        self.nodes.append(Node(kind or op.kind, inputs, (op.name,), shape, weights, settings))

    def pads(self, op: Op, size: int) -> tuple[int, int, int, int]:
        """Returns the pads of a window of `size`: those of a pad before it, or of "same"."""
        if op.inputs[0] in self.padded:
            return (1, 1, 1, 1)
        totals = [
            max((after - 1) * _stride(op) + size - before, 0)
            for before, after in zip(self.extents[op.inputs[0]], self.extents[op.name], strict=True)
        ]
        # The odd one goes to the end.
        return (*[total // 2 for total in totals], *[total - total // 2 for total in totals])


def _stride(op: Op) -> int:
    return POOL_STRIDE if op.kind in ("max_pool", "average_pool") else op.settings.get("stride", 1)


def _pad(reader: _Reader, op: Op) -> None:
    (reader.padded[op.name],) = op.inputs


def _conv(reader: _Reader, op: Op) -> None:
    depthwise = op.kind == "depthwise"
    kernel = op.weights.kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
    reader.add(
        op,
        "conv",
        Folded(np.ascontiguousarray(kernel), op.weights.bias),
        pads=reader.pads(op, kernel.shape[-1]),
        stride=op.settings["stride"],
        groups=op.channels if depthwise else op.settings["groups"],
        activation=None if depthwise else op.settings["activation"],
    )


def _dense(reader: _Reader, op: Op) -> None:
    kernel = np.ascontiguousarray(op.weights.kernel.T)
    reader.add(op, weights=Folded(kernel, op.weights.bias))


def _pool(reader: _Reader, op: Op) -> None:
    # For a maximum after a ReLU, a pad's zeros and a pool's own minus infinity are the same.
    reader.add(op, pads=reader.pads(op, POOL_SIZE), count_pads=op.inputs[0] in reader.padded)


def _slice(reader: _Reader, op: Op) -> None:
    """Adds one split for all slices of a tensor, at the first of them."""
    slices = [
        other
        for other in reader.graph.ops.values()
        if other.kind == "slice" and other.inputs == op.inputs
    ]
    if op is not slices[0]:
        return
    (source,) = op.inputs
    channels = reader.graph.ops[source].channels
    starts = [other.settings["start"] for other in slices]
    stops = [other.settings["stop"] for other in slices]
    if [*starts, channels] != [0, *stops]:
        raise ValueError(f"the slices of {source!r} leave gaps: {starts} to {stops}")
    outputs = tuple(other.name for other in slices)
    sizes = tuple(other.channels for other in slices)
    shape = (channels, *reader.extents[source])
    reader.nodes.append(Node("split", op.inputs, outputs, shape, None, {"sizes": sizes}))


_READERS: dict[str, Callable[[_Reader, Op], None]] = {
    "input": lambda reader, op: reader.add(op),
    "pad": _pad,
    "conv": _conv,
    "depthwise": _conv,
    "dense": _dense,
    "add": lambda reader, op: reader.add(op, activation=op.settings["activation"]),
    "mean": lambda reader, op: reader.add(op),
    "max_pool": _pool,
    "average_pool": _pool,
    "slice": _slice,
    "concat": lambda reader, op: reader.add(op),
    "transpose": lambda reader, op: reader.add(op, "shuffle", groups=op.settings["groups"]),
}
