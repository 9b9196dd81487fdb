"""Reads and writes a whole .tflite file as objects, for changing what the converter wrote."""

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

# The schema's `force_align` for weights, which the generated packing code ignores.
_ALIGNMENT = 16


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
