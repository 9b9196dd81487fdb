"""TFLite Micro's operators: the call that registers each operator of a .tflite file."""

from collections.abc import Iterable

from common.cli import UserError

# The method of tflite::MicroMutableOpResolver, by the operator's name in the schema. An all-integer
# classifier has no other operators.
REGISTRATIONS = {
    "ADD": "AddAdd",
    "ARG_MAX": "AddArgMax",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "CONCATENATION": "AddConcatenation",
    "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "DEQUANTIZE": "AddDequantize",
    "EXPAND_DIMS": "AddExpandDims",
    "FULLY_CONNECTED": "AddFullyConnected",
    "GATHER": "AddGather",
    "HARD_SWISH": "AddHardSwish",
    "LEAKY_RELU": "AddLeakyRelu",
    "LOGISTIC": "AddLogistic",
    "MAXIMUM": "AddMaximum",
    "MAX_POOL_2D": "AddMaxPool2D",
    "MEAN": "AddMean",
    "MINIMUM": "AddMinimum",
    "MUL": "AddMul",
    "PACK": "AddPack",
    "PAD": "AddPad",
    "PADV2": "AddPadV2",
    "PRELU": "AddPrelu",
    "QUANTIZE": "AddQuantize",
    "REDUCE_MAX": "AddReduceMax",
    "RELU": "AddRelu",
    "RELU6": "AddRelu6",
    "RESHAPE": "AddReshape",
    "RESIZE_BILINEAR": "AddResizeBilinear",
    "RESIZE_NEAREST_NEIGHBOR": "AddResizeNearestNeighbor",
    "SHAPE": "AddShape",
    "SLICE": "AddSlice",
    "SOFTMAX": "AddSoftmax",
    "SPACE_TO_DEPTH": "AddSpaceToDepth",
    "SPLIT": "AddSplit",
    "SPLIT_V": "AddSplitV",
    "SQUEEZE": "AddSqueeze",
    "STRIDED_SLICE": "AddStridedSlice",
    "SUB": "AddSub",
    "SUM": "AddSum",
    "TANH": "AddTanh",
    "TRANSPOSE": "AddTranspose",
    "TRANSPOSE_CONV": "AddTransposeConv",
    "UNPACK": "AddUnpack",
}


def registrations(names: Iterable[str], file: str) -> list[str]:
    """Returns the resolver's methods for operators, sorted, without repetition.

    Args:
      names: operators, as `common.tflite.operators.operator_counts` returns them.
      file: the name of their file, for the message.

    Raises:
      UserError: an operator is not known to exist in TFLite Micro.

    Examples:
      >>> registrations(["CONV_2D", "ADD"], "model_int8.tflite")
      ['AddAdd', 'AddConv2D']
    """
    names = set(names)
    if unknown := sorted(names - REGISTRATIONS.keys()):
        raise UserError(
            f"{file} needs {', '.join(unknown)}, which TFLite Micro's resolver is not known to "
            "have; convert for another target (--target=cpu), or without the layers that become it"
        )
    return sorted(REGISTRATIONS[name] for name in names)
