"""A graph → an ONNX file, in the operators that PyTorch's exporter uses."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.other_runtimes.nchw import POOL_SIZE, POOL_STRIDE, Node, nodes
from converters.graph.operations import Graph

# Versions that ONNX Runtime, its quantizer and OpenVINO have supported for years.
OPSET = 17
IR_VERSION = 8


def onnx_model(graph: Graph) -> onnx.ModelProto:
    """Returns a float32 ONNX model of a graph with the input (1, channels, height, width).

    Raises:
      ValueError: an operator that plain ShuffleNets do not have.

    Examples:
      >>> onnx.save(onnx_model(plain_graph(model)), "model.onnx")
    """
    writer = _Writer()
    image_node, *others = nodes(graph)
    for node in others:
        _WRITERS[node.kind](writer, node)
    float32 = onnx.TensorProto.FLOAT
    image = helper.make_tensor_value_info("image", float32, (1, *image_node.shape))
    classes = graph.ops[graph.output].channels
    logits = helper.make_tensor_value_info(graph.output, float32, (1, classes))
    content = helper.make_graph(writer.nodes, "shufflenet", [image], [logits], writer.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(content, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """Collects the nodes and constants of an ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> None:
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))

    def add_activated(
        self, node: Node, kind: str, inputs: Sequence[str], **attributes: Any
    ) -> None:
        """Adds a node, and the ReLU that follows it if there is one."""
        (output,) = node.outputs
        if node.settings["activation"] is None:
            self.add(kind, inputs, [output], **attributes)
        else:
            self.add(kind, inputs, [f"{output}_linear"], **attributes)
            self.add("Relu", [f"{output}_linear"], [output])

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, name: str, values: Sequence[int]) -> str:
        return self.constant(name, np.array(values, np.int64))

    def weights(self, node: Node) -> list[str]:
        (output,) = node.outputs
        kernel, bias = node.weights
        return [self.constant(f"{output}_kernel", kernel), self.constant(f"{output}_bias", bias)]


def _conv(writer: _Writer, node: Node) -> None:
    settings = node.settings
    writer.add_activated(
        node,
        "Conv",
        [*node.inputs, *writer.weights(node)],
        kernel_shape=node.weights.kernel.shape[2:],
        strides=[settings["stride"]] * 2,
        pads=settings["pads"],
        group=settings["groups"],
    )


def _dense(writer: _Writer, node: Node) -> None:
    writer.add("Gemm", [*node.inputs, *writer.weights(node)], node.outputs, transB=1)


def _pool(kind: str) -> Callable[[_Writer, Node], None]:
    def write(writer: _Writer, node: Node) -> None:
        counted = {"count_include_pad": int(node.settings["count_pads"])}
        writer.add(
            kind,
            node.inputs,
            node.outputs,
            kernel_shape=[POOL_SIZE] * 2,
            strides=[POOL_STRIDE] * 2,
            pads=node.settings["pads"],
            **(counted if kind == "AveragePool" else {}),
        )

    return write


def _mean(writer: _Writer, node: Node) -> None:
    (output,) = node.outputs
    writer.add("GlobalAveragePool", node.inputs, [f"{output}_pooled"])
    writer.add("Flatten", [f"{output}_pooled"], [output])


def _split(writer: _Writer, node: Node) -> None:
    sizes = writer.integers(f"{node.outputs[0]}_sizes", node.settings["sizes"])
    writer.add("Split", [*node.inputs, sizes], node.outputs, axis=1)


def _shuffle(writer: _Writer, node: Node) -> None:
    """Adds reshape, transpose, reshape: what every exporter writes for a shuffle."""
    (source,), (output,), (channels, height, width) = node.inputs, node.outputs, node.shape
    groups = node.settings["groups"]
    grouped = writer.integers(f"{output}_grouped", (1, groups, channels // groups, height, width))
    shape = writer.integers(f"{output}_shape", (1, channels, height, width))
    writer.add("Reshape", [source, grouped], [f"{output}_groups"])
    writer.add("Transpose", [f"{output}_groups"], [f"{output}_shuffled"], perm=(0, 2, 1, 3, 4))
    writer.add("Reshape", [f"{output}_shuffled", shape], [output])


_WRITERS: dict[str, Callable[[_Writer, Node], None]] = {
    "conv": _conv,
    "dense": _dense,
    "add": lambda writer, node: writer.add_activated(node, "Add", node.inputs),
    "mean": _mean,
    "max_pool": _pool("MaxPool"),
    "average_pool": _pool("AveragePool"),
    "split": _split,
    "concat": lambda writer, node: writer.add("Concat", node.inputs, node.outputs, axis=1),
    "shuffle": _shuffle,
}
