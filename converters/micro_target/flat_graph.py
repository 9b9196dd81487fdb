"""The graph in a .tflite file, as objects that can be rewritten."""

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.cli import UserError
from common.tflite.flatbuffer import (
    drop_unused_tensors,
    operator_code,
    operator_index,
    pack,
    unpack,
)

CODE = schema.BuiltinOperator
_OPTIONS = schema.BuiltinOptions
# The version of each operator for int8, and its options in the schema.
_NEW = {
    CODE.GATHER: (2, _OPTIONS.GatherOptions, schema.GatherOptionsT),
    CODE.SLICE: (2, _OPTIONS.SliceOptions, schema.SliceOptionsT),
    CODE.SPLIT_V: (2, _OPTIONS.SplitVOptions, schema.SplitVOptionsT),
    CODE.CONCATENATION: (2, _OPTIONS.ConcatenationOptions, schema.ConcatenationOptionsT),
}


class FlatGraph:
    """A .tflite file with one subgraph: its operators and tensors, which are numbers.

    Args:
      content: the content of the file.

    Attributes:
      model: the schema's object.
      operators: the operators in the order of execution, to be replaced by a new list.

    Raises:
      UserError: the file has several subgraphs.

    Examples:
      >>> graph = FlatGraph(path.read_bytes())
      >>> path.write_bytes(graph.pack())
    """

    def __init__(self, content: bytes):
        self.model = unpack(content)
        if len(self.model.subgraphs) != 1:
            raise UserError("a file with control flow cannot be rewritten for a microcontroller")
        self._graph = self.model.subgraphs[0]
        self._constants: dict[tuple, int] = {}

    @property
    def operators(self) -> list[schema.OperatorT]:
        """The operators, in the order of execution."""
        return self._graph.operators

    @operators.setter
    def operators(self, operators: list[schema.OperatorT]) -> None:
        self._graph.operators = operators

    @property
    def inputs(self) -> list[int]:
        """The tensors that the file's user gives."""
        return [int(tensor) for tensor in self._graph.inputs]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the first input, with the batch."""
        return self.shape(self.inputs[0])

    @property
    def outputs(self) -> list[int]:
        """The tensors that the file's user gets."""
        return [int(tensor) for tensor in self._graph.outputs]

    @property
    def tensors(self) -> list[schema.TensorT]:
        """The tensors by their numbers."""
        return self._graph.tensors

    def code(self, operator: schema.OperatorT) -> int:
        """Returns an operator's `schema.BuiltinOperator`."""
        return operator_code(self.model, operator)

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Returns a tensor's shape, with the batch."""
        shape = self.tensors[tensor].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def size(self, tensor: int) -> int:
        """Returns the bytes of a tensor."""
        item = {schema.TensorType.FLOAT32: 4, schema.TensorType.INT32: 4}
        return int(np.prod(self.shape(tensor))) * item.get(self.tensors[tensor].type, 1)

    def values(self, tensor: int) -> np.ndarray | None:
        """Returns the int32 values of a constant; None if the tensor is computed."""
        data = self.model.buffers[self.tensors[tensor].buffer].data
        return None if data is None or not len(data) else np.asarray(data).view(np.int32)

    def is_constant(self, tensor: int) -> bool:
        """Returns whether a tensor is in the file, such as weights."""
        data = self.model.buffers[self.tensors[tensor].buffer].data
        return data is not None and len(data) > 0

    def has_scale(self, tensor: int) -> bool:
        """Returns whether a tensor is quantized."""
        quantization = self.tensors[tensor].quantization
        return quantization is not None and quantization.scale is not None

    def computed(self, operator: schema.OperatorT) -> list[int]:
        """Returns an operator's inputs that are not constants."""
        given = [int(tensor) for tensor in operator.inputs if tensor >= 0]
        return [tensor for tensor in given if not self.is_constant(tensor)]

    def uses(self) -> Counter[int]:
        """Returns how often each tensor is read; the file's outputs once more."""
        uses = Counter(int(tensor) for each in self.operators for tensor in each.inputs)
        uses.update(self.outputs)
        return uses

    def like(self, tensor: int, shape: Sequence[int]) -> int:
        """Adds a computed tensor of another shape, with the type and int8 scale of `tensor`."""
        new = copy.copy(self.tensors[tensor])
        new.shape, new.shapeSignature, new.buffer = np.array(shape, np.int32), None, 0
        return self._add(new)

    def constant(self, values: Sequence[int] | np.ndarray) -> int:
        """Adds an int32 constant, unless there is an equal one of this call."""
        values = np.asarray(values, np.int32)
        key = (values.shape, values.tobytes())
        if key not in self._constants:
            new = schema.TensorT()
            new.shape, new.type = np.array(values.shape, np.int32), schema.TensorType.INT32
            new.buffer, new.name = len(self.model.buffers), None
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            self._constants[key] = self._add(new)
        return self._constants[key]

    def _add(self, tensor: schema.TensorT) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def new(self, code: int, inputs: Sequence[int], outputs: Sequence[int], **options: Any) -> Any:
        """Returns a new operator of `_NEW`; the caller puts it into `operators`."""
        version, kind, options_type = _NEW[code]
        operator = schema.OperatorT()
        operator.opcodeIndex = operator_index(self.model, code, version)
        operator.inputs, operator.outputs = np.int32(inputs), np.int32(outputs)
        operator.builtinOptionsType, operator.builtinOptions = kind, options_type()
        for name, value in options.items():
            setattr(operator.builtinOptions, name, value)
        return operator

    def slice(self, tensor: int, axis: int, start: int, stop: int) -> schema.OperatorT:
        """Returns a new operator that copies a part of a tensor along one axis."""
        shape = list(self.shape(tensor))
        shape[axis] = stop - start
        begin = [0] * len(shape)
        begin[axis] = start
        inputs = (tensor, self.constant(begin), self.constant(shape))
        return self.new(CODE.SLICE, inputs, [self.like(tensor, shape)])

    def changed(
        self, operator: schema.OperatorT, inputs: Sequence[int], outputs: Sequence[int]
    ) -> schema.OperatorT:
        """Returns a copy of an operator with other tensors; both share their options."""
        new = copy.copy(operator)
        new.inputs, new.outputs = np.int32(inputs), np.int32(outputs)
        return new

    def clone(self) -> "FlatGraph":
        """Returns a graph that can be rewritten without changing this one; both share weights."""
        new = copy.copy(self)
        new.model = copy.copy(self.model)
        new.model.subgraphs = [copy.copy(self._graph)]
        new._graph = new.model.subgraphs[0]
        for owner, name in (
            *((new.model, "operatorCodes"), (new.model, "buffers")),
            *((new._graph, "operators"), (new._graph, "tensors")),
        ):
            setattr(owner, name, list(getattr(owner, name)))
        new._constants = dict(self._constants)
        return new

    def pack(self) -> bytes:
        """Returns the content of a file with what the operators need, and nothing else."""
        _drop_unused(self)
        return pack(self.model)


def _drop_unused(graph: FlatGraph) -> None:
    """Removes operator codes, tensors and buffers that nothing refers to; renumbers the rest."""
    model = graph.model
    drop_unused_tensors(model)
    # Copies, because a clone shares its tensors.
    model.subgraphs[0].tensors = [copy.copy(tensor) for tensor in graph.tensors]
    graph._constants.clear()
    _drop_buffers(model)
    codes = sorted({operator.opcodeIndex for operator in graph.operators})
    model.operatorCodes = [model.operatorCodes[index] for index in codes]
    for operator in graph.operators:
        operator.opcodeIndex = codes.index(operator.opcodeIndex)


def _drop_buffers(model: schema.ModelT) -> None:
    """Keeps the buffers of tensors and metadata; the first, which is empty, is every other's."""
    owners = [*model.subgraphs[0].tensors, *(model.metadata or ())]
    buffers, places = [model.buffers[0]], {0: 0}
    for owner in owners:
        data = model.buffers[owner.buffer].data
        if data is None or not len(data):
            owner.buffer = 0
            continue
        if owner.buffer not in places:
            places[owner.buffer] = len(buffers)
            buffers.append(model.buffers[owner.buffer])
        owner.buffer = places[owner.buffer]
    model.buffers = buffers
