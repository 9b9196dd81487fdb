"""TFLite Micro's operators: which call registers which operator of a .tflite file."""

from collections.abc import Iterable

from common.cli import UserError

# By name in the schema: the method of tflite::MicroMutableOpResolver. A classifier that is integer
# throughout has no others.
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
    "UNPACK": "AddUnpack",
}


def registrations(names: Iterable[str], file: str) -> list[str]:
    """Returns the resolver's methods for operators, sorted, each once.

    Args:
      names: as `common.tflite.operators.operator_counts` gives them.
      file: the name of their file, for the message.

    Raises:
      UserError: TFLite Micro is not known to have one of them.

    Examples:
      >>> registrations(["CONV_2D", "ADD"], "model_int8.tflite")
      ['AddAdd', 'AddConv2D']
    """
    names = set(names)
    if unknown := sorted(names - REGISTRATIONS.keys()):
        raise UserError(
            f"{file} needs {', '.join(unknown)}, which TFLite Micro's resolver is not known to "
            "have; convert with --graph=deployment --target=micro, without edited layers"
        )
    return sorted(REGISTRATIONS[name] for name in names)
