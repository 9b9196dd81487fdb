"""Collects the nodes and constants of an ONNX graph, in float32 or with int8 between them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from converters.graph.operations import Graph
from converters.graph.operator import Op
from converters.onnx_target.int8 import Int8, Int8Weights
from converters.onnx_target.layout import CHANNELS_FIRST, CHANNELS_LAST, is_map, onnx_shape


class Writer:
    """The nodes and constants of a file, in the order of execution.

    Names in the file begin with the operator's; what more than one tensor is needed for has a name
    after a slash, which no layer's name contains.

    Args:
      graph: the deployment graph.
      int8: the scales of its tensors and weights; None for a float32 file.
      channels_last: whether inputs and outputs that are maps have their channels last.

    Attributes:
      graph: the deployment graph.
      nodes: what has been added.
    """

    def __init__(self, graph: Graph, int8: Int8 | None, channels_last: bool):
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self._int8 = int8
        self._channels_last = channels_last
        self._constants: dict[str, onnx.TensorProto] = {}

    @property
    def constants(self) -> list[onnx.TensorProto]:
        """The constants that have been added."""
        return list(self._constants.values())

    def tensor(self, name: str) -> str:
        """Returns the name of an operator's output for those who take it, channels first."""
        op = self.graph.ops[name]
        moved = self._channels_last and is_map(op.shape)
        if op.kind == "input" and (moved or self._int8):
            return f"{name}/{'rounded' if self._int8 else 'channels_first'}"
        return f"{name}/channels_first" if moved and name in self.graph.outputs else name

    def inputs(self, op: Op) -> list[str]:
        """Returns the names of the tensors that an operator takes."""
        return [self.tensor(name) for name in op.inputs]

    def computed(self, op: Op) -> str:
        """Returns the name of what an operator's own node makes, before activation and rounding."""
        if op.activation:
            return f"{op.name}/linear"
        return f"{op.name}/float" if self._int8 else self.tensor(op.name)

    def activated(self, op: Op) -> str:
        """Returns the name of an operator's output before it is rounded to int8."""
        return f"{op.name}/float" if self._int8 else self.tensor(op.name)

    def add_input(self, op: Op) -> onnx.ValueInfoProto:
        """Adds what is between an input of the file and the operators; returns the input."""
        source = op.name
        if self._channels_last and is_map(op.shape):
            source = self.add(
                "Transpose", [source], f"{op.name}/channels_first", perm=CHANNELS_FIRST
            )
        self.round(op, source, self.tensor(op.name))
        return self._edge(op, op.name)

    def add_output(self, op: Op, index: int) -> onnx.ValueInfoProto:
        """Adds what is between the operators and an output of the file; returns the output.

        Args:
          op: what makes the output.
          index: of the output.
        """
        source, output = self.tensor(op.name), op.name
        if op.kind == "input" or op.name in self.graph.outputs[:index]:
            # What is an input, or another output already, needs a name of its own.
            output = self.add("Identity", [op.name], f"{op.name}/output_{index}")
        elif source != output:
            self.add("Transpose", [source], output, perm=CHANNELS_LAST)
        return self._edge(op, output)

    def _edge(self, op: Op, name: str) -> onnx.ValueInfoProto:
        shape = (1, *op.shape) if self._channels_last else onnx_shape(op.shape)
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds a node with one output; returns its name."""
        self.add_many(kind, inputs, [output], **attributes)
        return output

    def add_many(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> None:
        """Adds a node with several outputs."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))

    def constant(self, name: str, values: np.ndarray) -> str:
        """Adds a constant, unless there is one of that name; returns the name."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def integers(self, name: str, values: Sequence[int]) -> str:
        """Adds a constant of int64, such as a shape; returns its name."""
        return self.constant(name, np.array(values, np.int64))

    def number(self, value: float) -> str:
        """Adds a float32 number, once in the file; returns its name."""
        return self.constant(f"number/{value!r}", np.array(value, np.float32))

    def weights(self, op: Op, kernel: np.ndarray) -> list[str]:
        """Adds an operator's kernel, output channels first, and its bias if it has one.

        Of operators that share weights, a float32 file has the kernel once.

        Returns:
          Their names.
        """
        bias = op.weights.bias if op.weights else None
        if self._int8 is None:
            owner = op.shares or op.name
            names = [self.constant(f"{owner}/kernel", kernel)]
            return names if bias is None else [*names, self.constant(f"{owner}/bias", bias)]
        weights = self._int8.kernel(op, kernel)
        # Each has its own: for CPUs without VNNI, ONNX Runtime copies it for each operator, under
        # one name ("Attempt to replace the existing tensor").
        names = [self._stored(f"{op.name}/kernel", weights)]
        if bias is not None:
            # The scale of the input is in it.
            names.append(self._stored(f"{op.name}/bias", self._int8.bias(op, weights)))
        return names

    def factors(self, name: str, values: np.ndarray, step: float) -> str:
        """Adds constant factors, which are multiples of `step`: exact in int8; returns the name."""
        if self._int8 is None:
            return self.constant(name, values.astype(np.float32))
        integers = np.rint(values / step).astype(np.int8)
        return self._stored(name, Int8Weights(integers, np.array(step, np.float32)))

    def round(self, op: Op, source: str, output: str) -> str:
        """Adds rounding to int8 in the scale of an operator's output; in float32 files nothing.

        Returns:
          The name of the rounded tensor: `output`, or `source` in a float32 file.
        """
        if self._int8 is None:
            return source
        scale = self._int8.activation(op.name)
        parts = [
            self.constant(f"{scale.name}/scale", np.array(scale.scale)),
            self.constant(f"{scale.name}/zero_point", np.array(scale.zero_point)),
        ]
        integers = self.add("QuantizeLinear", [source, *parts], f"{output}/int8")
        return self.add("DequantizeLinear", [integers, *parts], output)

    def _stored(self, name: str, weights: Int8Weights) -> str:
        """Adds integers and the node that makes real numbers of them; returns their name."""
        zeros = np.zeros(weights.scales.shape, weights.integers.dtype)
        parts = [
            self.constant(f"{name}/integers", weights.integers),
            self.constant(f"{name}/scale", weights.scales),
            self.constant(f"{name}/zero_point", zeros),
        ]
        axis = {"axis": 0} if weights.scales.ndim else {}
        return self.add("DequantizeLinear", parts, name, **axis)
