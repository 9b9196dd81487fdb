"""The operators of a .tflite file: counted by name and version, or read one by one."""

import collections
import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.cli import UserError
from common.tflite import flatbuffer

_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}
# What reading a flatbuffer with wrong offsets raises in pure Python.
_BAD_FLATBUFFER = (
    *(struct.error, IndexError, KeyError, TypeError, ValueError, AttributeError),
    *(OverflowError, MemoryError, RecursionError),
)
# How many of their first inputs operators need; all others need one.
_NEEDED_INPUTS = {
    "CONV_2D": 2,
    "DEPTHWISE_CONV_2D": 2,
    "FULLY_CONNECTED": 2,
    "TRANSPOSE_CONV": 3,
    "VAR_HANDLE": 0,
}
_DTYPES = {code: name.lower() for name, code in vars(schema.TensorType).items() if name[0] != "_"}
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Tensor:
    """What a device's compiler needs to know about a tensor.

    Attributes:
      shape: including the batch.
      dtype: such as "int8".
      fixed: whether the shape is known before the graph runs.
      scales: number of quantization scales: none, one, or one for each channel.
      zero_point: the integer that stands for 0 (in the first channel).
      values: those of a constant, flat; None for a tensor that is computed.
    """

    shape: tuple[int, ...]
    dtype: str
    fixed: bool
    scales: int
    zero_point: int
    values: np.ndarray | None


@dataclass(frozen=True)
class Operator:
    """One operator of a graph.

    Attributes:
      name, version: as in `operator_counts`.
      inputs: tensors; None for an optional input that is not given.
      outputs: tensors.
      options: the schema's object, such as `schema.Conv2DOptionsT`, or None.
    """

    name: str
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Any

    @property
    def tensors(self) -> list[Tensor]:
        """All inputs and outputs that are given."""
        return [tensor for tensor in (*self.inputs, *self.outputs) if tensor is not None]

    @property
    def computed(self) -> list[Tensor]:
        """All inputs and outputs that are not constants."""
        return [tensor for tensor in self.tensors if tensor.values is None]


@dataclass(frozen=True)
class Contents:
    """What `read_operators` finds in a file.

    Attributes:
      operators: in the file's order.
      inputs: the network's inputs.
      constant_bytes: size of weights, biases and all other constants, each counted once.
    """

    operators: tuple[Operator, ...]
    inputs: tuple[Tensor, ...]
    constant_bytes: int


def operator_counts(path: str | os.PathLike) -> dict[str, dict]:
    """Counts the operators of all subgraphs of a .tflite file.

    Devices refuse operators by name *and* version, so both are given.

    Args:
      path: the .tflite file.

    Returns:
      Operator name to {"count": number of operators, "versions": sorted list}, sorted by
      name; custom operators are called "CUSTOM:<name>".

    Raises:
      UserError: the file is missing, truncated or not a .tflite model.

    Examples:
      >>> operator_counts("model_int8.tflite")["CONV_2D"]
      {'count': 36, 'versions': [3]}
    """
    return _read(path, _count)


def read_operators(path: str | os.PathLike) -> Contents:
    """Reads the operators of a .tflite file with their tensors and options.

    Args:
      path: the .tflite file; it must have one subgraph.

    Raises:
      UserError: the file is missing, truncated, not a .tflite model, or has several subgraphs.

    Examples:
      >>> read_operators("model_int8.tflite").operators[0].outputs[0].shape
      (1, 112, 112, 24)
    """
    return _read(path, lambda content: _contents(Path(path), content))


def read_ends(path: str | os.PathLike) -> tuple[list[dict], list[dict]]:
    """Returns what a manifest says of the inputs and outputs of a .tflite file.

    Returns:
      Two lists of {"shape", "dtype", "scale", "zero_point"}; the last two are None for floats.

    Raises:
      UserError: as for `operator_counts`.
    """
    return _read(path, _ends)


def ends_with_softmax(path: str | os.PathLike) -> bool:
    """Returns whether a .tflite file with one output gives probabilities, by its last operators.

    Raises:
      UserError: as for `read_operators`.
    """
    for operator in reversed(read_operators(path).operators):
        # These give the same values in another type, or in another shape.
        if operator.name not in ("DEQUANTIZE", "QUANTIZE", "RESHAPE"):
            return operator.name == "SOFTMAX"
    return False


def _read(path: str | os.PathLike, read: Callable[[bytes], _Read]) -> _Read:
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist or is not a file; check the path")
    content = path.read_bytes()
    if len(content) < 8 or not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise UserError(f"{path} is not a .tflite model; check the path")
    with damage_reported(path):
        return read(content)


@contextlib.contextmanager
def damage_reported(path: str | os.PathLike) -> Iterator[None]:
    """Raises UserError where the block fails on a .tflite file that contradicts itself."""
    try:
        yield
    except _BAD_FLATBUFFER as error:
        raise UserError(f"{path} is damaged ({error}); convert it again") from error


def _count(content: bytes) -> dict[str, dict]:
    model = schema.Model.GetRootAs(content)
    _check_buffers(model)
    counts: collections.Counter[str] = collections.Counter()
    versions = collections.defaultdict(set)
    for subgraph in map(model.Subgraphs, range(model.SubgraphsLength())):
        # Otherwise a damaged length would make the loop run for hours.
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
    # Codes up to 127 are in the deprecated field, for old readers.
    builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if builtin == schema.BuiltinOperator.CUSTOM:
        return f"CUSTOM:{code.CustomCode().decode()}"
    return _NAMES[builtin]


def _ends(content: bytes) -> tuple[list[dict], list[dict]]:
    _count(content)  # Rejects a damaged file before all of it is unpacked.
    graph = flatbuffer.unpack(content).subgraphs[0]
    found = ([_end(graph.tensors[index]) for index in end] for end in (graph.inputs, graph.outputs))
    return tuple(found)


def _end(tensor: schema.TensorT) -> dict:
    values = tensor.quantization
    scaled = values is not None and values.scale is not None and len(values.scale) > 0
    return {
        "shape": [int(size) for size in (() if tensor.shape is None else tensor.shape)],
        "dtype": _DTYPES[tensor.type],
        "scale": float(values.scale[0]) if scaled else None,
        "zero_point": int(values.zeroPoint[0]) if scaled else None,
    }


def _contents(path: Path, content: bytes) -> Contents:
    _count(content)  # Rejects a damaged file before all of it is unpacked.
    model = flatbuffer.unpack(content)
    if len(model.subgraphs) != 1:
        raise UserError(
            f"{path} has {len(model.subgraphs)} subgraphs, but a network for a device has one; "
            "convert it again without control flow"
        )
    graph = model.subgraphs[0]
    tensors = [_tensor(tensor, model.buffers) for tensor in graph.tensors]
    codes = schema.Model.GetRootAs(content).OperatorCodes
    operators = [
        Operator(
            name=_name(codes(operator.opcodeIndex)),
            version=codes(operator.opcodeIndex).Version(),
            inputs=tuple(None if index < 0 else tensors[index] for index in operator.inputs),
            outputs=tuple(tensors[index] for index in operator.outputs),
            options=operator.builtinOptions,
        )
        for operator in graph.operators
    ]
    for number, operator in enumerate(operators):
        _check_inputs(number, operator)
    used = {tensor.buffer for tensor in graph.tensors}
    constants = [model.buffers[index].data for index in used]
    return Contents(
        operators=tuple(operators),
        inputs=tuple(tensors[index] for index in graph.inputs),
        constant_bytes=sum(len(data) for data in constants if data is not None),
    )


def _check_inputs(number: int, operator: Operator) -> None:
    needed = _NEEDED_INPUTS.get(operator.name, 1)
    given = operator.inputs[:needed]
    if len(given) < needed or None in given or not operator.outputs:
        raise ValueError(f"operator {number}, {operator.name}, lacks an input or output")


def _tensor(tensor: schema.TensorT, buffers: list[schema.BufferT]) -> Tensor:
    data = buffers[tensor.buffer].data
    dtype = _DTYPES[tensor.type]
    scale, zero_point = (
        (None, None)
        if tensor.quantization is None
        else (tensor.quantization.scale, tensor.quantization.zeroPoint)
    )
    constant = data is not None and len(data) > 0
    return Tensor(
        shape=tuple(int(size) for size in (() if tensor.shape is None else tensor.shape)),
        dtype=dtype,
        fixed=tensor.shapeSignature is None or min(tensor.shapeSignature, default=0) >= 0,
        scales=0 if scale is None else len(scale),
        zero_point=0 if zero_point is None or not len(zero_point) else int(zero_point[0]),
        values=np.frombuffer(bytes(data), _numpy_dtype(dtype)) if constant else None,
    )


def _numpy_dtype(dtype: str) -> np.dtype:
    """Returns the dtype in memory; uint8 for types that numpy lacks, such as int4."""
    try:
        return np.dtype(dtype)
    except TypeError:
        return np.dtype("uint8")
