"""The operators of a .tflite file: their kinds, multiply-adds and memory access costs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.tflite.operators import Operator, Tensor, damage_reported, read_operators

CONVOLUTION, DEPTHWISE, FULLY_CONNECTED = "convolution", "depthwise", "fully connected"
POOLING, ELEMENT_WISE, DATA_MOVEMENT = "pooling", "element-wise", "data movement"
CONVERSION, OTHER = "conversion", "other"

# V2's Figure 2 shows convolution, element-wise, data and the rest; it counts depthwise convolutions
# as element-wise operators, because they take time for few multiply-adds.
OPERATORS: dict[str, tuple[str, ...]] = {
    CONVOLUTION: ("CONV_2D", "TRANSPOSE_CONV"),
    DEPTHWISE: ("DEPTHWISE_CONV_2D",),
    FULLY_CONNECTED: ("FULLY_CONNECTED", "BATCH_MATMUL"),
    POOLING: ("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "REDUCE_MAX", "SUM"),
    ELEMENT_WISE: (
        *("ABS", "ADD", "DIV", "EXP", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "MAXIMUM", "MINIMUM"),
        *("MUL", "NEG", "PRELU", "RELU", "RELU6", "RELU_N1_TO_1", "RSQRT", "SOFTMAX", "SQRT"),
        *("SQUARED_DIFFERENCE", "SUB", "TANH"),
    ),
    DATA_MOVEMENT: (
        *("CONCATENATION", "EXPAND_DIMS", "GATHER", "MIRROR_PAD", "PACK", "PAD", "PADV2"),
        *("RESHAPE", "SHAPE", "SLICE", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE"),
        *("TRANSPOSE", "UNPACK"),
    ),
    CONVERSION: ("CAST", "DEQUANTIZE", "QUANTIZE"),
}
KINDS = (*OPERATORS, OTHER)

_KIND_OF = {name: kind for kind, names in OPERATORS.items() for name in names}
# Their second input is the kernel, each value of which is used once per position of the output.
MULTIPLYING = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# They read only the part of their input that they write.
_READING_A_PART = ("GATHER", "SLICE", "STRIDED_SLICE")


@dataclass(frozen=True)
class Layer:
    """One operator of a file, and its cost for one image.

    Attributes:
      name: the name of its output, as the converter wrote it.
      operator: such as "CONV_2D".
      kind: one of `KINDS`.
      output_shape: including the batch.
      macs: multiply-adds of convolutions and fully connected layers, 0 for others.
      memory_access_cost: values read and written: hw(c1 + c2) + c1c2/g for a 1x1 convolution
        (V2 paper, section 2, G1 and G2), in general input + output + kernel.
      memory_bytes: the bytes of these values and of the bias.
    """

    name: str
    operator: str
    kind: str
    output_shape: tuple[int, ...]
    macs: int
    memory_access_cost: int
    memory_bytes: int


def read_layers(path: str | os.PathLike) -> list[Layer]:
    """Returns the operators of a .tflite file, in the file's order.

    Args:
      path: the .tflite file; it must have one subgraph.

    Raises:
      UserError: the file is missing, damaged, not a .tflite model, or has several subgraphs.

    Examples:
      >>> sum(layer.macs for layer in read_layers("deployment_int8_ptq.tflite"))
      10459648
    """
    operators = read_operators(path).operators
    with damage_reported(path):
        return [
            _layer(name, operator) for name, operator in zip(_names(path), operators, strict=True)
        ]


def kind_of(operator: str) -> str:
    """Returns the kind of an operator of a file, such as "data movement" of "TRANSPOSE"."""
    return _KIND_OF.get(operator, OTHER)


def _names(path: str | os.PathLike) -> list[str]:
    graph = schema.Model.GetRootAs(Path(path).read_bytes()).Subgraphs(0)
    outputs = [graph.Operators(index).Outputs(0) for index in range(graph.OperatorsLength())]
    return [_short(graph.Tensors(output).Name().decode(errors="replace")) for output in outputs]


def _short(name: str) -> str:
    # The converter joins the names of all layers that it fused, each after the network's name.
    first = name.split(";")[0]
    return first.split("/", 1)[-1]


def _layer(name: str, operator: Operator) -> Layer:
    output = operator.outputs[0]
    kernel = operator.inputs[1] if operator.name in MULTIPLYING else None
    kernel_values = 0 if kernel is None else prod(kernel.shape)
    moved = _moved(operator, kernel)
    constants = [t for t in operator.inputs if t is not None and t.values is not None]
    weights = [t for t in constants if kernel is not None or t.values.dtype.kind == "f"]
    return Layer(
        name=name,
        operator=operator.name,
        kind=kind_of(operator.name),
        output_shape=output.shape,
        macs=prod(output.shape[:-1]) * kernel_values,
        memory_access_cost=sum(prod(tensor.shape) for tensor in moved) + kernel_values,
        memory_bytes=sum(map(_bytes, moved)) + sum(map(_bytes, weights)),
    )


def _moved(operator: Operator, kernel: Tensor | None) -> Sequence[Tensor]:
    """Returns the activations that are read and written, once for each read or write."""
    if operator.name in _READING_A_PART:
        return [*operator.outputs, *operator.outputs]
    return [tensor for tensor in operator.computed if tensor is not kernel]


def _bytes(tensor: Tensor) -> int:
    if tensor.values is not None:
        return tensor.values.nbytes
    return prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
