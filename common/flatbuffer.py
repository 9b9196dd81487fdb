"""Reads and writes a whole .tflite file as objects, for changing what the converter made of it."""

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

# The schema's `force_align` of weights, which the objects' own packing leaves out.
_ALIGNMENT = 16


class _Builder(flatbuffers.Builder):
    """Aligns vectors of bytes, among them the weights, as runtimes may rely on."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        alignment = _ALIGNMENT if elemSize == 1 else alignment
        return super().StartVector(elemSize, numElems, alignment)


def unpack(content: bytes) -> schema.ModelT:
    """Returns the model that a .tflite file holds, for changes in place."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


def pack(model: schema.ModelT) -> bytes:
    """Returns the content of the .tflite file of a model."""
    builder = _Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator_code(model: schema.ModelT, operator: schema.OperatorT) -> int:
    """Returns an operator's `schema.BuiltinOperator`."""
    code = model.operatorCodes[operator.opcodeIndex]
    # Codes up to 127 stand in the deprecated field for the sake of old readers.
    return max(code.builtinCode, code.deprecatedBuiltinCode)
