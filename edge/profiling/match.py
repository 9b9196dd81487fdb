"""Matches the runtime's operators with the file's, and finds their kinds."""

import re
from collections import defaultdict
from collections.abc import Sequence

from edge.profiling.layers import (
    CONVERSION,
    CONVOLUTION,
    DATA_MOVEMENT,
    DEPTHWISE,
    ELEMENT_WISE,
    FULLY_CONNECTED,
    KINDS,
    MULTIPLYING,
    POOLING,
    Layer,
    kind_of,
)

# XNNPACK's names for its operators, their kinds, and the operators of a file that they can run. It
# runs a 1x1 convolution as a fully connected layer. The first pattern that matches counts.
_XNNPACK: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (r"Convolution .*DWConv", DEPTHWISE, ("DEPTHWISE_CONV_2D",)),
    (r"Convolution|Fully Connected", CONVOLUTION, ("CONV_2D", "FULLY_CONNECTED")),
    (r"Deconvolution", CONVOLUTION, ("TRANSPOSE_CONV",)),
    (r"Batch Matrix Multiply", FULLY_CONNECTED, ("BATCH_MATMUL",)),
    (r"Max Pooling", POOLING, ("MAX_POOL_2D",)),
    (r"Average Pooling", POOLING, ("AVERAGE_POOL_2D",)),
    (r"Global Average Pooling|Mean|Sum", POOLING, ("MEAN", "SUM")),
    (r"Transpose", DATA_MOVEMENT, ("TRANSPOSE",)),
    (r"Copy", DATA_MOVEMENT, ("CONCATENATION", "SPLIT", "SPLIT_V", "PACK", "UNPACK")),
    (r"Slice", DATA_MOVEMENT, ("SLICE", "STRIDED_SLICE")),
    (r"Constant Pad", DATA_MOVEMENT, ("PAD", "PADV2")),
    (r"Static Reshape|Reshape", DATA_MOVEMENT, ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")),
    (r"Convert", CONVERSION, ("DEQUANTIZE", "QUANTIZE")),
    (r"Clamp|ReLU", ELEMENT_WISE, ("RELU", "RELU6", "RELU_N1_TO_1")),
    (r"Add\b", ELEMENT_WISE, ("ADD",)),
    (r"Multiply|Subtract|Divide|Maximum|Minimum", ELEMENT_WISE, ()),
    (r"HardSwish|Sigmoid|Softmax|Tanh|Leaky|PReLU", ELEMENT_WISE, ()),
)


def runtime_kind(name: str) -> str:
    """Returns the kind of an operator from the runtime's name for it, XNNPACK's or LiteRT's."""
    for pattern, kind, _ in _XNNPACK:
        if re.match(pattern, name):
            return kind
    return kind_of(name)


def kinds_of_nodes(nodes: Sequence[dict]) -> list[dict]:
    """Returns the totals by kind of another program's profile, in the order of `KINDS`.

    Args:
      nodes: {"operator", "ms"} of each operator, as `edge.devices.benchmark_model` reads them.

    Returns:
      `kind`, `operators`, `us` and `share` of each kind in the profile.
    """
    times: dict[str, list[float]] = defaultdict(list)
    for node in nodes:
        times[runtime_kind(node["operator"])].append(1e3 * node["ms"])
    total = sum(map(sum, times.values())) or 1.0
    return [
        {
            "kind": kind,
            "operators": len(times[kind]),
            "us": sum(times[kind]),
            "share": sum(times[kind]) / total,
        }
        for kind in KINDS
        if kind in times
    ]


def match_layers(
    names: Sequence[str | None], indices: Sequence[int | None], layers: Sequence[Layer]
) -> list[int | None]:
    """Finds the file's operator for each of the runtime's operators.

    LiteRT's own kernels report its index. XNNPACK keeps the order, but merges and adds operators:
    operators of one kind are matched in order if the file has the same number of them, otherwise
    they are not matched.

    Args:
      names: the runtime's names.
      indices: indices into the file's operators, or None.
      layers: the file's operators.

    Returns:
      For each name an index into `layers`, or None.
    """
    places: list[int | None] = list(indices)
    taken = {index for index in indices if index is not None}
    unknown = [at for at, index in enumerate(indices) if index is None]
    for group, operators in _groups(names, unknown):
        left = [
            index
            for index, layer in enumerate(layers)
            if layer.operator in operators and index not in taken
        ]
        if len(left) == len(group) and _agree([names[at] for at in group], left, layers):
            for at, index in zip(group, left, strict=True):
                places[at] = index
    return places


def _groups(
    names: Sequence[str | None], unknown: list[int]
) -> list[tuple[list[int], tuple[str, ...]]]:
    """Returns groups of indices into `names`, and the file's operators that each can run."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for at in unknown:
        for pattern, _, operators in _XNNPACK:
            if re.match(pattern, names[at] or ""):
                multiplying = set(operators) <= set(MULTIPLYING)
                groups[MULTIPLYING if multiplying else operators].append(at)
                break
    return [(places, operators) for operators, places in groups.items() if operators]


def _agree(names: list[str | None], places: list[int], layers: Sequence[Layer]) -> bool:
    """Returns whether every depthwise convolution of the runtime matches one of the file."""
    return all(
        (runtime_kind(name or "") == DEPTHWISE) <= (layers[place].kind == DEPTHWISE)
        for name, place in zip(names, places, strict=True)
    )
