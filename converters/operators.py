"""Which operators a .tflite file is made of: counted by name, with their versions."""

import collections
import os
import struct
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from trainers.cli import UserError

_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}
# What reading a flatbuffer with wrong offsets raises in pure Python.
_BAD_FLATBUFFER = (struct.error, IndexError, KeyError, TypeError, ValueError, AttributeError)


def operator_counts(path: str | os.PathLike) -> dict[str, dict]:
    """Counts the operators of all subgraphs of a .tflite file.

    Devices refuse operators by name *and* version, so both are given.

    Args:
      path: the .tflite file.

    Returns:
      Operator name to {"count": number of operators, "versions": sorted list}, sorted by
      name; custom operators are called "CUSTOM:<name>".

    Raises:
      UserError: the file is missing, truncated or no .tflite model.

    Example:
      >>> operator_counts("model_int8.tflite")["CONV_2D"]
      {'count': 36, 'versions': [3]}
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is not there or not a file; check the path")
    content = path.read_bytes()
    if len(content) < 8 or not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise UserError(f"{path} is not a .tflite model; check the path")
    try:
        return _count(content)
    except _BAD_FLATBUFFER as error:
        raise UserError(f"{path} is damaged ({error}); convert it again") from error


def _count(content: bytes) -> dict[str, dict]:
    model = schema.Model.GetRootAs(content)
    _check_buffers(model)
    counts: collections.Counter[str] = collections.Counter()
    versions = collections.defaultdict(set)
    for subgraph in map(model.Subgraphs, range(model.SubgraphsLength())):
        # A damaged length would otherwise make the loop run for hours.
        if subgraph.OperatorsLength() > len(content):
            raise ValueError(f"{subgraph.OperatorsLength()} operators in {len(content)} bytes")
        for operator in map(subgraph.Operators, range(subgraph.OperatorsLength())):
            code = model.OperatorCodes(operator.OpcodeIndex())
            name = _name(code)
            counts[name] += 1
            versions[name].add(code.Version())
    return {
        name: {"count": counts[name], "versions": sorted(versions[name])} for name in sorted(counts)
    }


def _check_buffers(model: schema.Model) -> None:
    """Reads the last byte of every weight: a truncated file lacks weights first."""
    for buffer in map(model.Buffers, range(model.BuffersLength())):
        if buffer.DataLength():
            buffer.Data(buffer.DataLength() - 1)


def _name(code: schema.OperatorCode) -> str:
    # Codes up to 127 stand in the deprecated field for the sake of old readers.
    builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if builtin == schema.BuiltinOperator.CUSTOM:
        return f"CUSTOM:{code.CustomCode().decode()}"
    return _NAMES[builtin]
