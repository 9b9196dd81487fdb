"""The bytes that a network's weights take in an Edge TPU: estimated, or read from a compiled file.

The estimate's constants were fitted to files of google-coral/test_data, of which they give the
cached bytes within 1.5% (tests/converters/edgetpu_target/parameters_test.py).
"""

import struct
from pathlib import Path
from typing import NamedTuple

from flatbuffers import number_types
from flatbuffers.table import Table

from common.tflite import flatbuffer
from common.tflite.operators import Operator

# Channels are padded to multiples of these: outputs, inputs of 1x1 kernels and of larger ones.
_OUTPUTS, _INPUTS, _WINDOW_INPUTS = 32, 16, 64
# Beside the weights: bytes of an output channel, such as its bias, and of a depthwise tap.
_CHANNEL_BYTES, _TAP_BYTES = 16, 2
# libedgetpu's executable.fbs: the identifier of a package, and the numbers of fields.
_IDENTIFIER = b"DWN1"
_MULTI_EXECUTABLE, _EXECUTABLES, _PARAMETERS, _TYPE = 1, 0, 6, 13
_PARAMETER_CACHING = 1
_CUSTOM = b"edgetpu-custom-op"
# What reading a flatbuffer with wrong offsets raises in pure Python.
_BAD_FLATBUFFER = (struct.error, IndexError, TypeError, ValueError, AttributeError)


class Parameters(NamedTuple):
    """The bytes of a compiled file's weights: kept on the chip, and sent at every inference."""

    cached_bytes: int
    streamed_bytes: int


def parameter_bytes(operator: Operator) -> int:
    """Returns the estimated bytes of an operator's constants in the Edge TPU's memory."""
    constants = [one for one in operator.inputs if one is not None and one.values is not None]
    if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"):
        outputs, height, width, inputs = next(x.shape for x in constants if len(x.shape) == 4)
        taps = height * width
        if operator.name == "DEPTHWISE_CONV_2D":
            return _padded(inputs, _OUTPUTS) * (taps * _TAP_BYTES + _CHANNEL_BYTES)
        return _matrix(taps * _padded(inputs, _INPUTS if taps == 1 else _WINDOW_INPUTS), outputs)
    if operator.name == "FULLY_CONNECTED" and constants:
        outputs, inputs = constants[0].shape
        return _matrix(_padded(inputs, _INPUTS), outputs)
    return sum(one.values.nbytes for one in constants)


def read_compiled(path: Path) -> Parameters | None:
    """Reads from a compiled file how many bytes of weights the Edge TPU keeps, and how many not.

    Returns:
      The sums over the file's Edge TPU parts; None if it has none that can be read.

    Examples:
      >>> read_compiled(Path("mobilenet_v1_0.25_128_quant_edgetpu.tflite"))
      Parameters(cached_bytes=566912, streamed_bytes=0)
    """
    try:
        model = flatbuffer.unpack(path.read_bytes())
        parts = [
            _read_package(bytes(operator.customOptions))
            for graph in model.subgraphs
            for operator in graph.operators
            if model.operatorCodes[operator.opcodeIndex].customCode == _CUSTOM
        ]
    except _BAD_FLATBUFFER:
        return None
    return Parameters(*map(sum, zip(*parts, strict=True))) if parts else None


def _matrix(rows: int, outputs: int) -> int:
    return _padded(outputs, _OUTPUTS) * (rows + _CHANNEL_BYTES)


def _padded(channels: int, multiple: int) -> int:
    return -(-channels // multiple) * multiple


def _read_package(options: bytes) -> Parameters:
    """Reads the options of an Edge TPU part, in which a package of executables is embedded."""
    # The identifier stands after the offset of the package's root.
    package = _root(options[options.index(_IDENTIFIER) - 4 :])
    several = _root(_bytes(package, _MULTI_EXECUTABLE))
    offset = _offset(several, _EXECUTABLES)
    found = {True: 0, False: 0}
    for index in range(several.VectorLen(offset)):
        executable = _root(several.String(several.Vector(offset) + 4 * index))
        kind = executable.GetSlot(_slot(_TYPE), 0, number_types.Int16Flags)
        # An executable that fills the cache runs once; the others send their own at every run.
        found[kind == _PARAMETER_CACHING] += len(_bytes(executable, _PARAMETERS))
    return Parameters(found[True], found[False])


def _root(content: bytes) -> Table:
    return Table(content, struct.unpack_from("<I", content)[0])


def _bytes(table: Table, field: int) -> bytes:
    offset = _offset(table, field)
    if not offset:
        return b""
    start = table.Vector(offset)
    return bytes(table.Bytes[start : start + table.VectorLen(offset)])


def _offset(table: Table, field: int) -> int:
    return table.Offset(_slot(field))


def _slot(field: int) -> int:
    # The first field is the third entry of 2 bytes in a flatbuffer's table of fields.
    return 4 + 2 * field
