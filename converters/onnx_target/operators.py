"""The ONNX nodes of each kind of operator of the deployment graph, as a table.

Each function adds an operator's nodes, the last of which makes the tensor `output`; an activation
that is part of the operator, and the rounding to int8, are added after it.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from converters.graph.operator import Op
from converters.graph.shapes import Shape, pair
from converters.onnx_target.layout import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    absorbs_pad,
    is_map,
    onnx_axis,
    onnx_shape,
    pieces_of_a_split,
    transposed_pads,
    window_pads,
)
from converters.onnx_target.writer import Writer
from converters.quantization.fake_quantization import FACTOR_STEP

OperatorWriter = Callable[[Writer, Op, str], None]
# Kernels are stored (height, width, inputs, outputs), or (…, channels, multiplier).
_OUTPUTS_FIRST = (3, 2, 0, 1)
_CHANNELS_FIRST = (2, 3, 0, 1)


def add_activation(writer: Writer, kind: str, source: str, output: str) -> None:
    """Adds "relu" or "relu6"."""
    if kind == "relu":
        writer.add("Relu", [source], output)
    else:
        writer.add("Clip", [source, writer.number(0.0), writer.number(6.0)], output)


def _source(writer: Writer, op: Op) -> str:
    """Returns the only input of an operator: what is before a pad that it absorbs."""
    (name,) = op.inputs
    return writer.tensor(
        writer.graph.ops[name].inputs[0] if absorbs_pad(writer.graph, op) else name
    )


def _convolve(writer: Writer, op: Op, output: str, kernel: np.ndarray, groups: int) -> None:
    dilation = pair(op.settings.get("dilation", 1))
    writer.add(
        "Conv",
        [_source(writer, op), *writer.weights(op, kernel)],
        output,
        kernel_shape=kernel.shape[2:],
        strides=pair(op.settings["stride"]),
        pads=window_pads(writer.graph, op, kernel.shape[2:], dilation),
        dilations=dilation,
        group=groups,
    )


def _conv(writer: Writer, op: Op, output: str) -> None:
    kernel = op.weights.kernel.transpose(_OUTPUTS_FIRST)
    _convolve(writer, op, output, kernel, op.settings["groups"])


def _depthwise(writer: Writer, op: Op, output: str) -> None:
    kernel = op.weights.kernel.transpose(_CHANNELS_FIRST)
    groups, _, *window = kernel.shape
    _convolve(writer, op, output, kernel.reshape(-1, 1, *window), groups)


def _window_average(writer: Writer, op: Op, output: str) -> None:
    """Adds the depthwise convolution with constant weights: zeros of a pad count as pixels."""
    window = pair(op.settings["window"])
    kernel = np.full((op.channels, 1, *window), 1 / math.prod(window), np.float32)
    _convolve(writer, op, output, kernel, op.channels)


def _conv_transpose(writer: Writer, op: Op, output: str) -> None:
    # ONNX stores the inputs' axis first.
    kernel = op.weights.kernel.transpose(_OUTPUTS_FIRST)
    pads, added = transposed_pads(writer.graph.ops[op.inputs[0]].shape, op)
    writer.add(
        "ConvTranspose",
        [*writer.inputs(op), *writer.weights(op, kernel)],
        output,
        kernel_shape=kernel.shape[2:],
        strides=pair(op.settings["stride"]),
        pads=pads,
        output_padding=added,
    )


def _dense(writer: Writer, op: Op, output: str) -> None:
    weights = writer.weights(op, op.weights.kernel.T)
    writer.add("Gemm", [*writer.inputs(op), *weights], output, transB=1)


def _pool(kind: str) -> OperatorWriter:
    def write(writer: Writer, op: Op, output: str) -> None:
        window = pair(op.settings["window"])
        # TensorFlow's own pads do not count in an average; zeros that were added do.
        counted = {"count_include_pad": int(absorbs_pad(writer.graph, op))}
        writer.add(
            kind,
            [_source(writer, op)],
            output,
            kernel_shape=window,
            strides=pair(op.settings["stride"]),
            pads=window_pads(writer.graph, op, window),
            **(counted if kind == "AveragePool" else {}),
        )

    return write


def _global_pool(kind: str) -> OperatorWriter:
    def write(writer: Writer, op: Op, output: str) -> None:
        if op.settings["keepdims"]:
            writer.add(kind, writer.inputs(op), output)
            return
        pooled = writer.add(kind, writer.inputs(op), f"{op.name}/pooled")
        # Runtimes that compute in int8 look for the rounding directly after the pool.
        writer.add("Flatten", [writer.round(op, pooled, f"{op.name}/rounded")], output)

    return write


def _same_inputs(kind: str) -> OperatorWriter:
    """Returns the writer of an operator that is one node without settings."""

    def write(writer: Writer, op: Op, output: str) -> None:
        writer.add(kind, writer.inputs(op), output)

    return write


def _leaky_relu(writer: Writer, op: Op, output: str) -> None:
    writer.add("LeakyRelu", writer.inputs(op), output, alpha=op.settings["slope"])


def _softmax(writer: Writer, op: Op, output: str) -> None:
    writer.add("Softmax", writer.inputs(op), output, axis=onnx_axis(op.shape, -1))


def _hard_swish(writer: Writer, op: Op, output: str) -> None:
    """Adds x * hard_sigmoid(x): the operator HardSwish is newer than the opset."""
    (source,) = writer.inputs(op)
    gate = writer.add("HardSigmoid", [source], f"{op.name}/gate", alpha=1 / 6, beta=0.5)
    writer.add("Mul", [source, gate], output)


def _gelu(writer: Writer, op: Op, output: str) -> None:
    """Adds x / 2 * (1 + erf(x / √2)), or with the tanh that approximates it."""
    (x,) = writer.inputs(op)
    add, number, name = writer.add, writer.number, op.name
    if op.settings["approximate"]:
        square = add("Mul", [x, x], f"{name}/square")
        bent = add("Mul", [square, number(0.044715)], f"{name}/bent")
        factor = add("Add", [bent, number(1.0)], f"{name}/factor")
        product = add("Mul", [x, factor], f"{name}/product")
        scaled = add("Mul", [product, number(math.sqrt(2 / math.pi))], f"{name}/scaled")
        share = add("Tanh", [scaled], f"{name}/share")
    else:
        scaled = add("Mul", [x, number(math.sqrt(0.5))], f"{name}/scaled")
        share = add("Erf", [scaled], f"{name}/share")
    gate = add("Add", [share, number(1.0)], f"{name}/gate")
    half = add("Mul", [x, number(0.5)], f"{name}/half")
    add("Mul", [half, gate], output)


def _relu6(writer: Writer, op: Op, output: str) -> None:
    add_activation(writer, "relu6", *writer.inputs(op), output)


def _edge_factor(writer: Writer, op: Op, output: str) -> None:
    factors = np.outer(op.settings["rows"], op.settings["columns"])[np.newaxis, np.newaxis]
    constant = writer.factors(f"{op.name}/factors", factors, FACTOR_STEP)
    writer.add("Mul", [*writer.inputs(op), constant], output)


def _pad(writer: Writer, op: Op, output: str) -> None:
    (top, bottom), (left, right) = op.settings["amounts"]
    pads = writer.integers(f"{op.name}/pads", (0, 0, top, left, 0, 0, bottom, right))
    writer.add("Pad", [*writer.inputs(op), pads, writer.number(0.0)], output)


def _crop(writer: Writer, op: Op, output: str) -> None:
    height, width, _ = op.shape
    (top, _), (left, _) = op.settings["amounts"]
    _add_slice(writer, op, output, (top, left), (top + height, left + width), (2, 3))


def _slice(writer: Writer, op: Op, output: str) -> None:
    axis, pieces = onnx_axis(op.shape, -1), pieces_of_a_split(writer.graph, op)
    if not pieces:
        _add_slice(writer, op, output, [op.settings["start"]], [op.settings["stop"]], [axis])
    elif op is min(pieces, key=list(writer.graph.ops.values()).index):
        # All at the first of them.
        sizes = writer.integers(f"{op.name}/sizes", [piece.channels for piece in pieces])
        outputs = [writer.computed(piece) for piece in pieces]
        writer.add_many("Split", [*writer.inputs(op), sizes], outputs, axis=axis)


def _add_slice(
    writer: Writer,
    op: Op,
    output: str,
    starts: Sequence[int],
    stops: Sequence[int],
    axes: Sequence[int],
) -> None:
    values = {"starts": starts, "stops": stops, "axes": axes}
    constants = [writer.integers(f"{op.name}/{name}", each) for name, each in values.items()]
    writer.add("Slice", [*writer.inputs(op), *constants], output)


def _concat(writer: Writer, op: Op, output: str) -> None:
    axis = op.settings.get("axis")
    axis = onnx_axis(op.shape, -1 if axis is None else axis)
    writer.add("Concat", writer.inputs(op), output, axis=axis)


def _resize(writer: Writer, op: Op, output: str) -> None:
    method, size = op.settings["method"], op.settings["size"]
    before = writer.graph.ops[op.inputs[0]].shape[:2]
    sizes = writer.integers(f"{op.name}/sizes", onnx_shape(op.shape))
    if method == "bilinear":
        way = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    elif all(after % extent == 0 for after, extent in zip(size, before, strict=True)):
        # The same pixels for a whole factor, in the way that every runtime has.
        way = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        way = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
    writer.add("Resize", [*writer.inputs(op), "", "", sizes], output, **way)


def _transpose(writer: Writer, op: Op, output: str) -> None:
    """Adds reshape, transpose, reshape: what every exporter writes for a shuffle."""
    _, channels, height, width = onnx_shape(op.shape)
    groups, name = op.settings["groups"], op.name
    grouped = writer.integers(f"{name}/grouped", (1, groups, channels // groups, height, width))
    shape = writer.integers(f"{name}/shape", (1, channels, height, width))
    split = writer.add("Reshape", [*writer.inputs(op), grouped], f"{name}/groups")
    shuffled = writer.add("Transpose", [split], f"{name}/shuffled", perm=(0, 2, 1, 3, 4))
    writer.add("Reshape", [shuffled, shape], output)


def _permute(writer: Writer, op: Op, output: str) -> None:
    axes, shape = op.settings["axes"], op.shape
    order = [0] * (len(axes) + 1)
    for target, source in enumerate(axes):
        order[onnx_axis(shape, target)] = onnx_axis(shape, source)
    writer.add("Transpose", writer.inputs(op), output, perm=order)


def _reshape(writer: Writer, op: Op, output: str) -> None:
    """Adds a reshape of channels that are last, as the graph counts them."""
    (source,), before = writer.inputs(op), writer.graph.ops[op.inputs[0]].shape
    if _moves(before):
        source = writer.add("Transpose", [source], f"{op.name}/last", perm=CHANNELS_LAST)
    if not _moves(op.shape):
        writer.add(
            "Reshape", [source, writer.integers(f"{op.name}/shape", onnx_shape(op.shape))], output
        )
        return
    shape = writer.integers(f"{op.name}/shape", (1, *op.shape))
    reshaped = writer.add("Reshape", [source, shape], f"{op.name}/reshaped")
    writer.add("Transpose", [reshaped], output, perm=CHANNELS_FIRST)


def _moves(shape: Shape) -> bool:
    """Returns whether a tensor's numbers are in another order with its channels first."""
    return is_map(shape) and shape[-1] > 1 and math.prod(shape[:2]) > 1


# By kind of operator. A kind that is missing is refused by its name (`export.onnx_model`).
OPERATORS: dict[str, OperatorWriter] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "conv_transpose": _conv_transpose,
    "dense": _dense,
    "add": _same_inputs("Add"),
    "subtract": _same_inputs("Sub"),
    "multiply": _same_inputs("Mul"),
    "maximum": _same_inputs("Max"),
    "minimum": _same_inputs("Min"),
    "mean": _global_pool("GlobalAveragePool"),
    "global_max": _global_pool("GlobalMaxPool"),
    "relu": _same_inputs("Relu"),
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "sigmoid": _same_inputs("Sigmoid"),
    "softmax": _softmax,
    "gelu": _gelu,
    "elu": _same_inputs("Elu"),
    "hard_swish": _hard_swish,
    "tanh": _same_inputs("Tanh"),
    "pad": _pad,
    "crop": _crop,
    "max_pool": _pool("MaxPool"),
    "average_pool": _pool("AveragePool"),
    "window_average": _window_average,
    "edge_factor": _edge_factor,
    "resize": _resize,
    "slice": _slice,
    "concat": _concat,
    "transpose": _transpose,
    "permute": _permute,
    "reshape": _reshape,
    "requantize": _same_inputs("Identity"),
}
