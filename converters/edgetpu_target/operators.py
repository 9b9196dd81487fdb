"""What the Edge TPU's compiler maps: its documented operators with their limits, as data.

From https://coral.ai/docs/edgetpu/models-intro/#supported-operations. About versions the
documentation only says that new ones fail. The versions here are those of TensorFlow Lite in 2020,
or newer ones if a public report shows that compiler 16.0 reads them (CONV_2D 5, TRANSPOSE_CONV 3
and QUANTIZE 2, which it names when it rejects the next: google-coral/edgetpu#631, #845, #879).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.tflite.operators import Operator, Tensor

# "About 8 MB" in the documentation; compilers report 7.04 to 8.05 MiB, including their program.
ON_CHIP_BYTES = 8_000_000
MOST_SOFTMAX_ELEMENTS = 16_000

# Returns why an operator does not map, or None.
Rule = Callable[[Operator], str | None]


@dataclass(frozen=True)
class Limits:
    """The compiler's requirements for one kind of operator.

    Attributes:
      version: the newest version that the compiler reads.
      rules: the documented limitations.
      doubt: why it may stay unmapped although it is documented; None if nobody reports that.
    """

    version: int
    rules: tuple[Rule, ...] = field(default=())
    doubt: str | None = None


def _option(operator: Operator, name: str) -> Any:
    # A file may omit the options if all of them are the schema's zeros.
    return getattr(operator.options, name, 0)


def no_activation(operator: Operator) -> str | None:
    """AveragePool2d, Concatenation, MaxPool2d: no fused activation function."""
    fused = _option(operator, "fusedActivationFunction")
    return None if fused == schema.ActivationFunctionType.NONE else "it has a fused activation"


def even_dilation(operator: Operator) -> str | None:
    """Conv2d, DepthwiseConv2d: the same dilation in x and y.

    The documentation excludes dilated depthwise kernels, but compiled files contain them
    (google-coral/test_data, deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite).
    """
    factors = {_option(operator, f"dilation{side}Factor") for side in "HW"}
    return None if len(factors) == 1 else "its dilation differs between x and y"


def ungrouped(operator: Operator) -> str | None:
    """Conv2d: grouped convolutions are not documented."""
    image, filters = operator.inputs[:2]
    groups = image.shape[-1] // filters.shape[-1]
    return None if groups == 1 else f"it has {groups} groups, but only one is documented"


def default_weights(operator: Operator) -> str | None:
    """FullyConnected: weights in the default format, an output of one dimension."""
    if _option(operator, "weightsFormat") != schema.FullyConnectedOptionsWeightsFormat.DEFAULT:
        return "its weights are shuffled"
    leading = operator.outputs[0].shape[:-1]
    return None if set(leading) <= {1} else "its output has more than one dimension"


def constants_pad(operator: Operator) -> str | None:
    """Concatenation: with a constant, only two inputs, and the constant must be zero."""
    constants = [tensor for tensor in operator.inputs if tensor.values is not None]
    zero = all((tensor.values == tensor.zero_point).all() for tensor in constants)
    if not constants or (len(operator.inputs) == 2 and zero):
        return None
    return "it concatenates a constant that is not zero, or more than two inputs with one"


def _axes(operator: Operator) -> set[int] | None:
    """Returns the axes that the second input lists, counted from the front; None if computed."""
    axes = operator.inputs[1].values
    if axes is None:
        return None
    return {int(axis) % len(operator.inputs[0].shape) for axis in axes}


def reduces_image(operator: Operator) -> str | None:
    """Mean: only along x and y."""
    axes = _axes(operator)
    rank = len(operator.inputs[0].shape)
    # Height and width are the second and third from the end.
    if axes is not None and axes <= {rank - 3, rank - 2}:
        return None
    return "it reduces more than x and y"


def keeps_batch(operator: Operator) -> str | None:
    """ReduceMax, ReduceMin, Sum: not along the batch."""
    axes = _axes(operator)
    return "it reduces the batch" if axes is None or 0 in axes else None


def pads_image(operator: Operator) -> str | None:
    """Pad: only along x and y."""
    amounts = operator.inputs[1].values
    if amounts is None:
        return "its padding is computed"
    padded = np.flatnonzero(amounts.reshape(-1, 2).any(axis=1))
    rank = len(operator.inputs[0].shape)
    return None if set(padded) <= {rank - 3, rank - 2} else "it pads more than x and y"


def packs_no_batch(operator: Operator) -> str | None:
    """Pack: not in the batch dimension."""
    rank = len(operator.outputs[0].shape)
    return "it packs the batch" if _option(operator, "axis") % rank == 0 else None


def splits_no_batch(operator: Operator) -> str | None:
    """Split: not in the batch dimension."""
    axis, image = operator.inputs[:2]
    known = axis.values is not None
    return None if known and axis.values[0] % len(image.shape) else "it splits the batch"


def unit_strides(operator: Operator) -> str | None:
    """StridedSlice: all strides 1, no ellipsis and no new axis."""
    strides = operator.inputs[3].values
    if strides is None or (strides != 1).any():
        return "its strides are not all 1"
    masks = _option(operator, "ellipsisMask") or _option(operator, "newAxisMask")
    return "it has an ellipsis or a new axis" if masks else None


def squeezes_front(operator: Operator) -> str | None:
    """Squeeze: leading dimensions of 1 only."""
    before, after = (_unpadded(tensor) for tensor in (operator.inputs[0], operator.outputs[0]))
    return None if before == after else "it removes more than leading dimensions"


def small_vector(operator: Operator) -> str | None:
    """Softmax: one dimension of at most 16,000 elements."""
    shape = _unpadded(operator.inputs[0])
    if len(shape) <= 1 and max(shape, default=1) <= MOST_SOFTMAX_ELEMENTS:
        return None
    return f"its input is not a vector of at most {MOST_SOFTMAX_ELEMENTS:,} elements"


def channel_slopes(operator: Operator) -> str | None:
    """PReLU: one slope for each channel."""
    slopes = operator.inputs[1].shape
    return None if set(slopes[:-1]) <= {1} else "it has more slopes than channels"


def _unpadded(tensor: Tensor) -> tuple[int, ...]:
    """Returns a shape without its leading dimensions of 1."""
    shape = tensor.shape
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


_RESIZED = "whether it maps depends on its size"

# The limits, by the schema's name of the operator.
OPERATORS: dict[str, Limits] = {
    "ADD": Limits(2),
    "AVERAGE_POOL_2D": Limits(2, (no_activation,)),
    "CONCATENATION": Limits(2, (no_activation, constants_pad)),
    "CONV_2D": Limits(5, (even_dilation, ungrouped)),
    "DEPTHWISE_CONV_2D": Limits(3, (even_dilation,)),
    "EXPAND_DIMS": Limits(1),
    "FULLY_CONNECTED": Limits(6, (default_weights,)),
    "L2_NORMALIZATION": Limits(2),
    "LOGISTIC": Limits(2),
    "MAXIMUM": Limits(2),
    "MAX_POOL_2D": Limits(2, (no_activation,)),
    "MEAN": Limits(2, (reduces_image,)),
    "MINIMUM": Limits(2),
    "MUL": Limits(3),
    "PACK": Limits(2, (packs_no_batch,)),
    "PAD": Limits(2, (pads_image,)),
    "PRELU": Limits(1, (channel_slopes,)),
    "QUANTIZE": Limits(2),
    "REDUCE_MAX": Limits(2, (keeps_batch,)),
    "REDUCE_MIN": Limits(2, (keeps_batch,)),
    "RELU": Limits(2),
    "RELU6": Limits(2),
    "RELU_N1_TO_1": Limits(1),
    "RESHAPE": Limits(1),
    "RESIZE_BILINEAR": Limits(3, doubt=_RESIZED),
    "RESIZE_NEAREST_NEIGHBOR": Limits(2, doubt=_RESIZED),
    "RSQRT": Limits(1),
    "SLICE": Limits(3),
    "SOFTMAX": Limits(2, (small_vector,)),
    "SPACE_TO_DEPTH": Limits(2),
    "SPLIT": Limits(3, (splits_no_batch,)),
    "SQUARED_DIFFERENCE": Limits(1),
    "SQUEEZE": Limits(1, (squeezes_front,)),
    "STRIDED_SLICE": Limits(4, (unit_strides,)),
    "SUB": Limits(2),
    "SUM": Limits(2, (keeps_batch,)),
    "TANH": Limits(2),
    "TRANSPOSE": Limits(3, doubt="compilers before 16 reject it, and 16 leaves some unmapped"),
    "TRANSPOSE_CONV": Limits(3),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Limits(2),
}
