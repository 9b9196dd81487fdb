"""Which operators of the deployment graph have an int8 scale of their own, and which share one."""

from converters.graph.operations import Graph
from converters.graph.operator import Op

# Operators that compute in an int8 scale of their own.
_COMPUTE = (
    *("input", "conv", "depthwise", "conv_transpose", "dense", "affine"),
    *("add", "subtract", "multiply", "mean", "window_average", "edge_factor"),
    *("relu", "relu6", "leaky_relu", "hard_swish", "gelu", "elu"),
    *("sigmoid", "tanh", "softmax"),
    # Where a tensor goes from float32 to int8 operators, and back.
    *("quantize", "dequantize"),
    # Where a tensor goes from one int8 scale to another.
    "requantize",
)
# Operators that move or select values: TFLite requires their output to have the input's int8 scale.
_MOVE = (
    *("pad", "crop", "slice", "concat", "transpose", "permute", "reshape", "reorder", "resize"),
    *("max_pool", "average_pool", "global_max", "maximum", "minimum"),
)
# The kinds of operators, and whether the output has the input's int8 scale.
SAME_SCALE = {**dict.fromkeys(_COMPUTE, False), **dict.fromkeys(_MOVE, True)}

# TFLite fixes the int8 scale of these outputs at 1/256, or 1/128: their ranges.
FIXED_RANGES: dict[str, tuple[float, float]] = {
    "sigmoid": (0.0, 255 / 256),
    "softmax": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
}

# It computes, but in its input's int8 scale, so that a factor of 1 does not change the integers.
_TIED = {"edge_factor"}


def ties(op: Op) -> bool:
    """Returns whether an operator's output has the int8 scale of its inputs."""
    return not op.is_float and (SAME_SCALE[op.kind] or op.kind in _TIED)


def scale_groups(graph: Graph) -> dict[str, str]:
    """Returns the name of each operator's int8 scale; operators with equal names share a scale.

    Operators that only move values tie their inputs and output together: the connected
    components of these ties are the scales. Therefore nothing needs to be requantized. Operators
    that stay in float32 have no scale; their names stand for themselves.
    """
    parent = {name: name for name in graph.ops}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for op in graph.ops.values():
        if ties(op):
            for source in op.inputs:
                parent[root(op.name)] = root(source)
    return {name: root(name) for name in graph.ops}
