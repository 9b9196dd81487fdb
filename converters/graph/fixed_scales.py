"""Frees tensors whose int8 scale is fixed from those of another scale that they meet."""

from collections import defaultdict
from dataclasses import replace

from converters.graph.operations import Graph
from converters.graph.operator import Op, free_name
from converters.graph.scales import FIXED_RANGES, scale_groups, ties


def free_fixed_scales(graph: Graph) -> Graph:
    """Returns a graph in which a fixed scale is no other tensor's.

    TFLite fixes the scale of probabilities, and pixels that of an image. Where one meets another
    tensor, such as scores that are concatenated with boxes, a shared scale would clip that. A
    `requantize` operator then gives it a second scale; in float it does nothing.
    """
    mixed = _mixed_groups(graph)
    groups = scale_groups(graph)
    ops: dict[str, Op] = {}
    freed: dict[str, str] = {}
    for op in graph.ops.values():
        if ties(op):
            op = replace(op, inputs=tuple(freed.get(name, name) for name in op.inputs))
        ops[op.name] = op
        if groups[op.name] in mixed and _fixed(op) is not None:
            freed[op.name] = free_name(f"{op.name}_requantize", graph.ops)
            ops[freed[op.name]] = Op(
                freed[op.name], "requantize", (op.name,), op.shape, layers=op.layers
            )
    return Graph(ops, graph.outputs)


def _mixed_groups(graph: Graph) -> set[str]:
    """Returns the scales that a fixed tensor shares with one of another range."""
    kinds: dict[str, set] = defaultdict(set)
    for name, group in scale_groups(graph).items():
        if not ties(graph.ops[name]):
            kinds[group].add(_fixed(graph.ops[name]))
    return {group for group, found in kinds.items() if len(found) > 1}


def _fixed(op: Op) -> object:
    """Returns what fixes an operator's scale; None: nothing does."""
    return op.name if op.kind == "input" else FIXED_RANGES.get(op.kind)
