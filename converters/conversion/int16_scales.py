"""Lets tensors of an int16 .tflite file that meet share a scale, so that none is requantized.

TFLiteConverter calibrates every tensor of an int16x8 file separately and puts a QUANTIZE before
each input of a concatenation whose scale differs from the output's. int16 is symmetric (its zero
point is 0), so only two places depend on a tensor's scale: the tensor itself, and the bias of the
convolution that reads it.

A layer that several operators share, such as a detector's last one, has one bias in the converter's
file, in the unit of the first of them; the others would add a wrong one. Each gets its own.
"""

import copy
from collections import Counter

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.tflite.flatbuffer import operator_code, pack, unpack

_OPERATOR = schema.BuiltinOperator
# Operators whose output has the scale of their inputs.
_MOVING = {
    _OPERATOR.CONCATENATION,
    _OPERATOR.MAXIMUM,
    _OPERATOR.MAX_POOL_2D,
    _OPERATOR.MINIMUM,
    _OPERATOR.AVERAGE_POOL_2D,
    _OPERATOR.PAD,
    _OPERATOR.QUANTIZE,
    _OPERATOR.REDUCE_MAX,
    _OPERATOR.RESHAPE,
    _OPERATOR.RESIZE_BILINEAR,
    _OPERATOR.RESIZE_NEAREST_NEIGHBOR,
    _OPERATOR.STRIDED_SLICE,
    _OPERATOR.TRANSPOSE,
}
# Operators whose output has a scale that TFLite fixes.
_FIXED = {_OPERATOR.LOGISTIC, _OPERATOR.SOFTMAX, _OPERATOR.TANH}
_WEIGHTED = {_OPERATOR.CONV_2D, _OPERATOR.DEPTHWISE_CONV_2D, _OPERATOR.FULLY_CONNECTED}


def share_scales(content: bytes) -> bytes:
    """Returns an int16x8 .tflite file without QUANTIZE between int16 tensors.

    Tensors that are connected only by operators that move values get the largest of their scales.
    Sigmoid, softmax and tanh keep theirs, which TFLite fixes, and the QUANTIZE after them.

    Args:
      content: content of a file with int16 activations, as TFLiteConverter writes it.

    Examples:
      >>> content = share_scales(converter.convert())
    """
    model = unpack(content)
    graph = _Int16Graph(model)
    graph.share()
    graph.remove_requantization()
    return pack(model)


class _Int16Graph:
    """The file's graph, with the kinds of its operators and its int16 tensors."""

    def __init__(self, model: schema.ModelT):
        self.model = model
        self.graph = model.subgraphs[0]

    def share(self) -> None:
        """Gives tied tensors the largest of their scales, and rescales the biases that follow."""
        roots, readers = self._roots(), self._readers()
        scales: dict[int, np.float32] = {}
        for index, root in roots.items():
            scales[root] = max(scales.get(root, np.float32(0)), self._scale(index))
        for operator in self.graph.operators:
            source = int(operator.inputs[0])
            if self._code(operator) in _WEIGHTED and source in roots:
                self._rescale_bias(operator, scales[roots[source]], readers)
        for index, root in roots.items():
            self.graph.tensors[index].quantization.scale = np.array([scales[root]], np.float32)

    def remove_requantization(self) -> None:
        """Removes QUANTIZE between int16 tensors whose sides have the same scale now."""
        instead: dict[int, int] = {}
        kept = []
        for operator in self.graph.operators:
            inputs = [instead.get(int(index), int(index)) for index in operator.inputs]
            operator.inputs = np.array(inputs, np.int32)
            ends = (int(operator.inputs[0]), int(operator.outputs[0]))
            if self._requantizes(operator) and self._scale(ends[0]) == self._scale(ends[1]):
                instead[ends[1]] = ends[0]
            else:
                kept.append(operator)
        self.graph.operators = kept

    def _roots(self) -> dict[int, int]:
        """Returns for every int16 tensor the representative of all tensors tied to it."""
        parent = {i: i for i in range(len(self.graph.tensors)) if self._is_int16(i)}
        fixed = {
            int(operator.outputs[0])
            for operator in self.graph.operators
            if self._code(operator) in _FIXED and int(operator.outputs[0]) in parent
        }

        def root(index: int) -> int:
            while parent[index] != index:
                index = parent[index]
            return index

        # First what keeps a scale, so that all that a fixed one ties is known.
        for operator in sorted(self.graph.operators, key=self._requantizes):
            tied = [int(i) for i in (*operator.outputs, *operator.inputs) if int(i) in parent]
            if self._code(operator) not in _MOVING:
                continue
            if self._requantizes(operator) and fixed & set(map(root, tied)):
                continue
            for other in tied[1:]:
                parent[root(other)] = root(tied[0])
            fixed = set(map(root, fixed))
        return {index: root(index) for index in parent}

    def _requantizes(self, operator: schema.OperatorT) -> bool:
        """Returns whether an operator only changes the scale of an int16 tensor."""
        ends = (int(operator.inputs[0]), int(operator.outputs[0]))
        return self._code(operator) == _OPERATOR.QUANTIZE and all(map(self._is_int16, ends))

    def _readers(self) -> Counter[int]:
        """Returns how many operators read each tensor."""
        return Counter(int(i) for operator in self.graph.operators for i in operator.inputs)

    def _rescale_bias(
        self, operator: schema.OperatorT, scale: np.float32, readers: Counter[int]
    ) -> None:
        """Writes a bias in its unit: the input's new scale times the weights' scales.

        A layer whose bias is zero has no bias tensor.
        """
        source, weights, bias = (int(index) for index in operator.inputs)
        if bias < 0:
            return
        unit = scale * np.float32(self.graph.tensors[weights].quantization.scale)
        before = np.float32(self.graph.tensors[bias].quantization.scale)
        # The converter's product is rounded elsewhere.
        if np.allclose(before, unit, rtol=1e-6, atol=0):
            return
        values = self._integers(bias)
        if readers[bias] > 1:
            if not values.any():
                # The converter shares zeros among layers; they are zero in any unit.
                return
            readers[bias] -= 1
            bias = self._copied(bias)
            operator.inputs = np.array([source, weights, bias], np.int32)
        # Weights that are all zero have a unit of zero.
        ratio = np.divide(before, unit, out=np.ones(unit.shape), where=unit > 0, dtype=np.float64)
        values = np.rint(values * ratio).astype(np.int64)
        tensor = self.graph.tensors[bias]
        self.model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
        tensor.quantization.scale = unit

    def _integers(self, index: int) -> np.ndarray:
        """Returns the values of a constant of int64."""
        data = self.model.buffers[self.graph.tensors[index].buffer].data
        return np.frombuffer(np.uint8(data).tobytes(), np.int64)

    def _copied(self, index: int) -> int:
        """Returns the index of a copy of a constant."""
        tensor = copy.deepcopy(self.graph.tensors[index])
        self.model.buffers.append(copy.deepcopy(self.model.buffers[tensor.buffer]))
        tensor.buffer = len(self.model.buffers) - 1
        tensor.name = f"{tensor.name.decode()}_of_{len(self.graph.tensors)}".encode()
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _code(self, operator: schema.OperatorT) -> int:
        return operator_code(self.model, operator)

    def _is_int16(self, index: int) -> bool:
        return index >= 0 and self.graph.tensors[index].type == schema.TensorType.INT16

    def _scale(self, index: int) -> np.float32:
        return np.float32(self.graph.tensors[index].quantization.scale[0])
