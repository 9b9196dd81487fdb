"""Gives a file of integer input and output float32 ones, which LiteRT.js requires.

LiteRT.js 2.5 refuses int8 and uint8 at a model's edge. A QUANTIZE before the graph and a DEQUANTIZE
after it change nothing inside: the same integers arrive, and the same come out.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.artifact import Artifact
from common.tflite import flatbuffer
from common.tflite.litert import Tensor

_FLOAT = schema.TensorType.FLOAT32
_INTEGERS = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16)
_NAMES = {"inputs": "float32_input", "outputs": "float32_output"}


def with_float_edges(content: bytes) -> bytes | None:
    """Returns a .tflite file's content with float32 input and output; None if it has them already.

    Args:
      content: of a file with one graph.

    Examples:
      >>> with_float_edges(Path("deployment_int8_ptq.tflite").read_bytes())
    """
    model = flatbuffer.unpack(content)
    graph = model.subgraphs[0]
    ends = [
        (end, place)
        for end in ("inputs", "outputs")
        for place, tensor in enumerate(getattr(graph, end))
        if graph.tensors[tensor].type in _INTEGERS
    ]
    for end, place in ends:
        _convert(model, end, place)
    return flatbuffer.pack(model) if ends else None


def input_levels(artifact: Artifact, name: str) -> np.ndarray:
    """Returns what a file's float32 input has for the pixels 0 to 255, float32 [256, channels].

    For an integer file these are the values of the integers that a pixel is stored as: QUANTIZE
    would round a value between two of them otherwise than `Tensor.quantize`.
    """
    stored = artifact.files[name]["inputs"][0]
    pixels = np.arange(256, dtype=np.uint8)[:, np.newaxis]
    levels = artifact.preprocess(np.repeat(pixels, stored["shape"][-1], axis=1))
    if stored["scale"] is None:
        return levels
    quantization = (stored["scale"], stored["zero_point"])
    tensor = Tensor(name, tuple(stored["shape"]), np.dtype(stored["dtype"]), quantization, 0)
    return tensor.dequantize(tensor.quantize(levels))


def _convert(model: schema.ModelT, end: str, place: int) -> None:
    graph = model.subgraphs[0]
    inner = int(getattr(graph, end)[place])
    outer = len(graph.tensors)
    graph.tensors.append(_float_tensor(graph.tensors[inner], f"{_NAMES[end]}_{place}"))
    if end == "inputs":
        operator = _operator(model, schema.BuiltinOperator.QUANTIZE, 1, outer, inner)
        graph.operators.insert(0, operator)
    else:
        operator = _operator(model, schema.BuiltinOperator.DEQUANTIZE, 2, inner, outer)
        graph.operators.append(operator)
    # What was read is an array that cannot be changed.
    setattr(graph, end, [*getattr(graph, end)[:place], outer, *getattr(graph, end)[place + 1 :]])
    for signature in model.signatureDefs or []:
        for named in getattr(signature, end):
            if named.tensorIndex == inner:
                named.tensorIndex = outer


def _float_tensor(inner: schema.TensorT, name: str) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.shape, tensor.shapeSignature = inner.shape, inner.shapeSignature
    tensor.hasRank, tensor.type, tensor.name = inner.hasRank, _FLOAT, name.encode()
    tensor.buffer = 0  # The first buffer is always the empty one.
    return tensor


def _operator(
    model: schema.ModelT, code: int, version: int, source: int, target: int
) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex = flatbuffer.operator_index(model, code, version)
    operator.inputs, operator.outputs = [source], [target]
    return operator
