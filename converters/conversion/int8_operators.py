"""Corrects which operators of a converted file compute in int8, and which in float32.

TFLite's and TFLite Micro's kernels of ELU compute in int8, with a table of 256 values, but
TFLiteConverter leaves the operator in float32, between a DEQUANTIZE and a QUANTIZE. Other operators
it makes int8 although they are to stay in float32; a marker after them prevents that.
"""

import copy
from collections import Counter

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.tflite.flatbuffer import (
    drop_unused_tensors,
    operator_code,
    operator_index,
    pack,
    unpack,
)

_OPERATOR = schema.BuiltinOperator
# What `converters.graph.emitted_layers.QuantizeBorder` writes when it is marked.
_MARKER = _OPERATOR.SIN


def integer_elu(content: bytes) -> bytes:
    """Returns a .tflite file whose ELUs take and give the integers around them.

    One whose result something else reads in float32 stays as it is.

    Args:
      content: as TFLiteConverter writes it.

    Examples:
      >>> content = integer_elu(converter.convert())
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    found = [operator for operator in graph.operators if _is(model, operator, _OPERATOR.ELU)]
    if not found:
        return content
    for operator in found:
        _make_integer(model, graph, operator)
    _remove_unread(model, graph)
    return pack(model)


def without_markers(content: bytes) -> bytes:
    """Returns a .tflite file without the markers of `QuantizeBorder`.

    Args:
      content: as TFLiteConverter writes it, from a model whose borders were marked.

    Examples:
      >>> content = without_markers(converter.convert())
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    markers = [operator for operator in graph.operators if _is(model, operator, _MARKER)]
    for marker in markers:
        source, result = int(marker.inputs[0]), int(marker.outputs[0])
        for operator in graph.operators:
            operator.inputs = np.where(operator.inputs == result, source, operator.inputs)
    graph.operators = [operator for operator in graph.operators if operator not in markers]
    _requantize_at_once(model, graph)
    _remove_unread(model, graph)
    return pack(model) if markers else content


def loses_tensors(content: bytes) -> bool:
    """Whether TFLiteConverter has removed what other operators read, for an integer output's sake.

    Where a dequantized tensor is an output and is also read in float32, it removes the DEQUANTIZE.
    The reader then has no input, with which LiteRT fails or crashes, or it has the uint8 output.
    """
    (graph,) = unpack(content).subgraphs
    unsigned = {i for i in graph.outputs if graph.tensors[i].type == schema.TensorType.UINT8}
    return any(
        len(operator.inputs) and (operator.inputs[0] < 0 or unsigned & set(operator.inputs))
        for operator in graph.operators
    )


def reads_nothing(content: bytes) -> bool:
    """Whether an operator takes a tensor that is no input, no constant and no operator's result."""
    model = unpack(content)
    (graph,) = model.subgraphs
    made = {-1, *graph.inputs, *(i for operator in graph.operators for i in operator.outputs)}
    read = {i for operator in graph.operators for i in operator.inputs} - made
    return any(model.buffers[graph.tensors[i].buffer].data is None for i in read)


def integer_outputs(content: bytes, dtype: str) -> bytes:
    """Returns a .tflite file whose dequantized outputs are integers.

    Args:
      content: of a file with float32 outputs.
      dtype: "int8" or "uint8".
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    for operator in list(graph.operators):
        result = int(operator.outputs[0])
        if not _is(model, operator, _OPERATOR.DEQUANTIZE) or result not in graph.outputs:
            continue
        found = int(operator.inputs[0])
        if dtype == "uint8":
            found = _as_uint8(model, graph, found)
        graph.outputs = np.where(graph.outputs == result, found, graph.outputs)
        for signature in model.signatureDefs or ():
            for place in signature.outputs:
                if place.tensorIndex == result:
                    place.tensorIndex = found
    _remove_unread(model, graph)
    return pack(model)


def _as_uint8(model: schema.ModelT, graph: schema.SubGraphT, source: int) -> int:
    """Adds a QUANTIZE of an int8 tensor; returns the number of its uint8 output."""
    tensor = copy.deepcopy(graph.tensors[source])
    tensor.name += b"_uint8"
    tensor.type = schema.TensorType.UINT8
    tensor.quantization.zeroPoint = tensor.quantization.zeroPoint + 128
    graph.tensors.append(tensor)
    operator = schema.OperatorT()
    operator.opcodeIndex = operator_index(model, _OPERATOR.QUANTIZE, 2)
    operator.inputs = np.array([source], np.int32)
    operator.outputs = np.array([len(graph.tensors) - 1], np.int32)
    graph.operators.append(operator)
    return len(graph.tensors) - 1


def _requantize_at_once(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    """Lets each QUANTIZE of a dequantized tensor take its integers."""
    integers = {
        int(operator.outputs[0]): int(operator.inputs[0])
        for operator in graph.operators
        if _is(model, operator, _OPERATOR.DEQUANTIZE)
    }
    for operator in graph.operators:
        if _is(model, operator, _OPERATOR.QUANTIZE):
            source = int(operator.inputs[0])
            operator.inputs = np.array([integers.get(source, source)], np.int32)


def _is(model: schema.ModelT, operator: schema.OperatorT, code: int) -> bool:
    return operator_code(model, operator) == code


def _make_integer(model: schema.ModelT, graph: schema.SubGraphT, elu: schema.OperatorT) -> None:
    """Lets one ELU take what is dequantized before it and give what is quantized after it."""
    source, result = int(elu.inputs[0]), int(elu.outputs[0])
    before = [operator for operator in graph.operators if source in operator.outputs]
    after = [operator for operator in graph.operators if result in operator.inputs]
    if (
        len(before) == len(after) == 1
        and result not in graph.outputs
        and _is(model, before[0], _OPERATOR.DEQUANTIZE)
        and _is(model, after[0], _OPERATOR.QUANTIZE)
    ):
        elu.inputs, elu.outputs = before[0].inputs, after[0].outputs
        graph.operators.remove(after[0])


def _remove_unread(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    """Removes DEQUANTIZE whose result nothing reads any more, and tensors of no operator."""
    reads = Counter(int(index) for operator in graph.operators for index in operator.inputs)
    reads.update(int(index) for index in graph.outputs)
    graph.operators = [
        operator for operator in graph.operators if any(reads[int(i)] for i in operator.outputs)
    ]
    drop_unused_tensors(model)
