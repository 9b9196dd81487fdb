"""Reads and writes a whole .tflite file as objects, for changing what the converter wrote."""

import copy

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

# The schema's `force_align` for weights, which the generated packing code ignores.
_ALIGNMENT = 16
# Codes from here on do not fit into the field for old readers.
_PLACEHOLDER = schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES


class _Builder(flatbuffers.Builder):
    """Aligns byte vectors, including the weights, because runtimes may rely on it."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        alignment = _ALIGNMENT if elemSize == 1 else alignment
        return super().StartVector(elemSize, numElems, alignment)


def unpack(content: bytes) -> schema.ModelT:
    """Returns the model that a .tflite file holds, for changes in place."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


def pack(model: schema.ModelT) -> bytes:
    """Returns a model as the content of a .tflite file."""
    builder = _Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator_code(model: schema.ModelT, operator: schema.OperatorT) -> int:
    """Returns an operator's `schema.BuiltinOperator`."""
    code = model.operatorCodes[operator.opcodeIndex]
    # Codes up to 127 are in the deprecated field, for old readers.
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def operator_index(model: schema.ModelT, code: int, version: int) -> int:
    """Returns the place of an operator's code in a file, where it is added if it is not there.

    Args:
      model: the file; an older version of the operator in it is raised.
      code: its `schema.BuiltinOperator`.
      version: the least version of the operator that a runtime must have.
    """
    for index, known in enumerate(model.operatorCodes):
        if max(known.builtinCode, known.deprecatedBuiltinCode) == code:
            known.version = max(known.version, version)
            return index
    new = schema.OperatorCodeT()
    new.builtinCode, new.version = code, version
    new.deprecatedBuiltinCode = min(code, _PLACEHOLDER)
    model.operatorCodes.append(new)
    return len(model.operatorCodes) - 1


def drop_unused_tensors(model: schema.ModelT) -> None:
    """Removes the tensors of a file's only graph that nothing refers to; renumbers the rest."""
    (graph,) = model.subgraphs
    # Copies, because graphs can share operators, and operators arrays.
    graph.operators = [copy.copy(operator) for operator in graph.operators]
    owners = (graph, *graph.operators)
    used = {int(tensor) for each in owners for tensor in (*each.inputs, *each.outputs)}
    kept = sorted(used - {-1})
    numbers = {old: new for new, old in enumerate(kept)} | {-1: -1}
    for each in owners:
        each.inputs, each.outputs = (
            np.int32([numbers[int(tensor)] for tensor in tensors])
            for tensors in (each.inputs, each.outputs)
        )
    for signature in model.signatureDefs or ():
        for place in (*signature.inputs, *signature.outputs):
            place.tensorIndex = numbers[place.tensorIndex]
    graph.tensors = [graph.tensors[index] for index in kept]
