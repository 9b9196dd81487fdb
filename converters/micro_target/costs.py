"""What a file costs: the memory of its tensors, and its multiply-adds."""

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.micro_target.flat_graph import CODE, FlatGraph

CONVOLUTIONS = {CODE.CONV_2D, CODE.DEPTHWISE_CONV_2D}
# The axes of [batch, height, width, channels].
_ROWS, _COLUMNS = 1, 2
_ALIGNMENT = 16


def live_bytes(
    graph: FlatGraph,
    operators: Sequence[schema.OperatorT],
    kept: Sequence[int],
    given: Sequence[int] = (),
) -> list[int]:
    """Returns the bytes of all tensors that are needed while each operator runs.

    Args:
      graph: the file.
      operators: in the order of execution.
      kept: the tensors that are needed afterwards.
      given: the tensors from before that count, too.
    """
    last = {int(tensor): at for at, each in enumerate(operators) for tensor in each.inputs}
    last |= dict.fromkeys(kept, len(operators))
    ends: list[list[int]] = [[] for _ in range(len(operators) + 1)]
    live, result = 0, []
    for at, operator in enumerate(operators):
        for tensor in (*(given if at == 0 else ()), *map(int, operator.outputs)):
            size = -(-graph.size(tensor) // _ALIGNMENT) * _ALIGNMENT
            ends[last.get(tensor, at)].append(size)
            live += size
        result.append(live)
        live -= sum(ends[at])
    return result


def peak_bytes(graph: FlatGraph) -> int:
    """Returns the lower bound of the memory that a file's tensors need in their order."""
    return max(live_bytes(graph, graph.operators, graph.outputs, graph.inputs))


def total_macs(graph: FlatGraph) -> int:
    """Returns the multiply-adds of all convolutions and fully connected layers."""
    total = 0
    for operator in graph.operators:
        shape = graph.shape(int(operator.outputs[0]))
        if graph.code(operator) == CODE.FULLY_CONNECTED:
            total += int(np.prod(shape)) * graph.shape(int(operator.inputs[1]))[-1]
        elif graph.code(operator) in CONVOLUTIONS:
            total += row_macs(graph, operator) * shape[_ROWS]
    return total


def row_macs(graph: FlatGraph, operator: schema.OperatorT) -> int:
    """Returns the multiply-adds of one row of a convolution's output; 0 for other operators."""
    code = graph.code(operator)
    if code not in CONVOLUTIONS:
        return 0
    kernel = graph.shape(int(operator.inputs[1]))
    columns = graph.shape(int(operator.outputs[0]))[_COLUMNS]
    return columns * int(np.prod(kernel))
