"""Where axes, pads and slices are in an ONNX file: maps are channels first, all else as it was."""

from collections.abc import Sequence

from converters.graph.operations import Graph
from converters.graph.operator import Op
from converters.graph.shapes import Shape, pair

# Of a map with its batch: to ONNX's order, and back.
CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
# Axes of a map (height, width, channels) in its ONNX tensor (batch, channels, height, width).
_MAP_AXES = (2, 3, 1)

Pads = tuple[int, int, int, int]


def is_map(shape: Shape) -> bool:
    """Returns whether a tensor without its batch has height, width and channels."""
    return len(shape) == len(_MAP_AXES)


def onnx_axis(shape: Shape, axis: int) -> int:
    """Returns where an axis of a tensor without its batch is in the file; -1: the channels."""
    axis %= len(shape)
    return _MAP_AXES[axis] if is_map(shape) else axis + 1


def onnx_shape(shape: Shape) -> Shape:
    """Returns a tensor's shape in the file, with a batch of 1.

    Examples:
      >>> onnx_shape((224, 224, 3)), onnx_shape((10,))
      ((1, 3, 224, 224), (1, 10))
    """
    return (1, shape[-1], *shape[:2]) if is_map(shape) else (1, *shape)


def window_pads(
    graph: Graph, op: Op, window: Sequence[int], dilation: int | Sequence[int] = 1
) -> Pads:
    """Returns a window's pads (top, left, bottom, right): those of a pad before it, or of "same".

    An odd pixel of "same" is at the end, as in TensorFlow.
    """
    settings = op.settings
    if absorbs_pad(graph, op):
        (top, bottom), (left, right) = graph.ops[op.inputs[0]].settings["amounts"]
        return top, left, bottom, right
    if settings["padding"] == "valid":
        return (0, 0, 0, 0)
    before = graph.ops[op.inputs[0]].shape[:2]
    steps, holes = pair(settings["stride"]), pair(dilation)
    totals = [
        max((after - 1) * step + (size - 1) * hole + 1 - extent, 0)
        for extent, after, size, step, hole in zip(
            before, op.shape[:2], window, steps, holes, strict=True
        )
    ]
    return (*(total // 2 for total in totals), *(total - total // 2 for total in totals))


def transposed_pads(before: Shape, op: Op) -> tuple[Pads, tuple[int, int]]:
    """Returns what a transposed convolution cuts off, as pads, and what it adds at the end."""
    sizes, steps = op.weights.kernel.shape[:2], pair(op.settings["stride"])
    totals = [
        (extent - 1) * step + size - after
        for extent, after, size, step in zip(before[:2], op.shape[:2], sizes, steps, strict=True)
    ]
    cut = [max(total, 0) for total in totals]
    pads = (*(total // 2 for total in cut), *(total - total // 2 for total in cut))
    return pads, (max(-totals[0], 0), max(-totals[1], 0))


def absorbs_pad(graph: Graph, op: Op) -> bool:
    """Returns whether the pad before an operator is exactly pads of its own window."""
    if op.kind not in _WINDOWS or op.settings["padding"] != "valid":
        return False
    source = graph.ops[op.inputs[0]]
    if source.kind != "pad" or op.kind in _WEIGHTED:
        return source.kind == "pad"
    # Runtimes refuse pools with windows of pads alone.
    window = pair(op.settings["window"])
    fits = all(
        max(amounts) < size
        for amounts, size in zip(source.settings["amounts"], window, strict=True)
    )
    # A maximum's own pads are minus infinity: the same as zeros if nothing is below them.
    return fits and (op.kind == "average_pool" or _is_non_negative(graph, source.inputs[0]))


def absorbed_pads(graph: Graph) -> set[str]:
    """Returns the names of the pads that only operators take which absorb them."""
    pads = {op.name for op in graph.ops.values() if op.kind == "pad"} - set(graph.outputs)
    for op in graph.ops.values():
        if not absorbs_pad(graph, op):
            pads -= set(op.inputs)
    return pads


def pieces_of_a_split(graph: Graph, op: Op) -> list[Op]:
    """Returns all slices of a slice's input in the order of their channels, if they are a split.

    They are one if each channel is in exactly one of them; else the list is empty.
    """
    slices = [
        each for each in graph.ops.values() if each.kind == "slice" and each.inputs == op.inputs
    ]
    slices.sort(key=lambda each: each.settings["start"])
    starts = [each.settings["start"] for each in slices]
    stops = [each.settings["stop"] for each in slices]
    channels = graph.ops[op.inputs[0]].channels
    return slices if len(slices) > 1 and [*starts, channels] == [0, *stops] else []


_WEIGHTED = ("conv", "depthwise", "window_average")
_WINDOWS = (*_WEIGHTED, "max_pool", "average_pool")
_POSITIVE = ("relu", "relu6", "sigmoid", "softmax")
_MOVING = ("slice", "concat", "transpose", "permute", "reshape", "crop", "pad", "max_pool")


def _is_non_negative(graph: Graph, name: str) -> bool:
    op = graph.ops[name]
    if op.kind in _MOVING:
        return all(_is_non_negative(graph, source) for source in op.inputs)
    return op.kind in _POSITIVE or op.activation is not None
