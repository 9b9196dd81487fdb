"""Opens up a .tflite file: every tensor is an output, or every operator has its own inputs.

Both are the same file with other inputs and outputs, so every runtime runs them with its usual
kernels.
"""

import copy
import re
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.tflite.flatbuffer import operator_code, pack, unpack
from converters.graph.operations import Graph

_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}
# The converter fuses operators and joins their names with semicolons; quantization adds prefixes.
# A layer's second call is deployment_graph/quant_conv/Conv2D_1.
_LAYER = re.compile(r"deployment_graph/(?:quant_)?([^/;]+)(?:/([^/;]+))?")
_CALL = re.compile(r"_(\d+)$")


@dataclass(frozen=True)
class Tensor:
    """The output of one operator in the file.

    Attributes:
      name: the name of the deployment graph's operator, or of the tensor if no operator matches.
      operator: TFLite's kind of operator, such as "CONV_2D".
      scale, zero_point: real = (q - zero_point) * scale.
    """

    name: str
    operator: str
    scale: float
    zero_point: int

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Returns real values as int8, rounded to nearest and saturated."""
        return np.rint(self.position(x)).astype(np.int8)

    def position(self, x: np.ndarray) -> np.ndarray:
        """Returns real values in LSB, saturated but not rounded."""
        return np.clip(x / np.float32(self.scale) + self.zero_point, -128, 127)

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        """Returns the real values of int8 `q`."""
        return (q.astype(np.float32) - self.zero_point) * np.float32(self.scale)


@dataclass(frozen=True)
class Instrumented:
    """A full-int8 .tflite file, opened up.

    Attributes:
      plain: the unchanged file.
      tapped: the file with the outputs of all operators as its outputs.
      apart: the file cut apart: its inputs are the image and then, for each operator, the tensor
        that its consumers read; its outputs are the operators' outputs.
      image: the file's input.
      tensors: the operators' outputs, in the order of execution; the last is the file's output.
    """

    plain: bytes
    tapped: bytes
    apart: bytes
    image: Tensor
    tensors: tuple[Tensor, ...]


def instrument(content: bytes, graph: Graph) -> Instrumented:
    """Opens up a file.

    Args:
      content: content of a full-int8 .tflite file with int8 input and output.
      graph: the deployment graph that it was converted from, for its operators' names.

    Examples:
      >>> parts = instrument(convert_fake_quant(model), graph)
      >>> parts.tensors[0].name
      'stem'
    """
    model = unpack(content)
    subgraph = model.subgraphs[0]
    image = _describe(subgraph.tensors[subgraph.inputs[0]], "image", "input")
    shown = _shown(subgraph, graph)
    tensors = []
    for operator in shown:
        tensor = subgraph.tensors[operator.outputs[0]]
        kind = _NAMES[operator_code(model, operator)]
        tensors.append(_describe(tensor, _operator_name(tensor.name.decode(), graph), kind))
    produced = np.array([operator.outputs[0] for operator in shown], np.int32)
    tapped, apart = _tapped(content, produced), _apart(content, produced)
    return Instrumented(content, tapped, apart, image, tuple(tensors))


def _shown(subgraph: schema.SubGraphT, graph: Graph) -> list[schema.OperatorT]:
    """Returns the last TFLite operator of each of the graph's operators.

    A channel transpose becomes three operators in TFLite, and only the last one's output is a
    tensor of the graph; the others only move values.
    """
    last = {}
    for operator in subgraph.operators:
        tensor = subgraph.tensors[operator.outputs[0]]
        name = _operator_name(tensor.name.decode(), graph)
        last.pop(name, None)  # so that the order is that of execution
        last[name] = operator
    return list(last.values())


def _describe(tensor: schema.TensorT, name: str, operator: str) -> Tensor:
    quantization = tensor.quantization
    return Tensor(name, operator, float(quantization.scale[0]), int(quantization.zeroPoint[0]))


def _operator_name(tensor: str, graph: Graph) -> str:
    for name, part in _LAYER.findall(tensor):
        if name in graph.ops:
            calls = [name, *(op.name for op in graph.ops.values() if op.shares == name)]
            number = _CALL.search(part)
            index = int(number[1]) if number else 0
            return calls[index] if index < len(calls) else name
    return tensor


def _tapped(content: bytes, produced: np.ndarray) -> bytes:
    model = unpack(content)
    model.subgraphs[0].outputs = produced
    return _pack(model)


def _apart(content: bytes, produced: np.ndarray) -> bytes:
    model = unpack(content)
    subgraph = model.subgraphs[0]
    twins = {}
    for index in produced:
        twin = copy.copy(subgraph.tensors[index])
        twin.name += b"_given"
        twins[int(index)] = len(subgraph.tensors)
        subgraph.tensors.append(twin)
    for operator in subgraph.operators:
        read = [twins.get(int(index), int(index)) for index in operator.inputs]
        operator.inputs = np.array(read, np.int32)
    subgraph.inputs = np.array([*subgraph.inputs, *twins.values()], np.int32)
    subgraph.outputs = produced
    return _pack(model)


def _pack(model: schema.ModelT) -> bytes:
    # The signatures name inputs and outputs that have changed.
    model.signatureDefs = None
    return pack(model)
