"""A graph → ncnn's two files: layers as text, weights as bytes.

Uses the layers that ncnn's own converters and optimizer write: ShuffleChannel, Slice, fused ReLUs.
The formats: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure and
https://github.com/Tencent/ncnn/wiki/operation-param-weight-table
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from benchmarks.other_runtimes.nchw import POOL_SIZE, POOL_STRIDE, Node, nodes
from converters.graph.operations import Graph

_MAGIC = 7767517
# Before a kernel: says that float32 follows.
_FLOAT32 = bytes(4)
# A parameter that is an array has the key -23300 - id and begins with its length.
_ARRAY = -23300
_RELU = 1
_MAX, _AVERAGE = 0, 1

Parameters = Mapping[int, object]


def ncnn_files(graph: Graph) -> tuple[str, bytes]:
    """Returns the contents of a graph's .param and .bin files, all in float32.

    Raises:
      ValueError: an operator that plain ShuffleNets do not have.

    Examples:
      >>> param, weights = ncnn_files(plain_graph(model))
    """
    writer = _Writer(nodes(graph))
    return writer.param(), b"".join(writer.weights)


class _Writer:
    """Collects the lines and weights of a network; ncnn needs a copy for every consumer."""

    def __init__(self, graph_nodes: list[Node]):
        self.lines: list[str] = []
        self.weights: list[bytes] = []
        self.blobs = 0
        self.uses = Counter(name for node in graph_nodes for name in node.inputs)
        # By tensor, the copies that no consumer has used yet.
        self.copies: dict[str, list[str]] = {}
        for node in graph_nodes:
            _WRITERS[node.kind](self, node)

    def param(self) -> str:
        """Returns the text of the .param file."""
        head = [str(_MAGIC), f"{len(self.lines)} {self.blobs}"]
        return "\n".join([*head, *self.lines]) + "\n"

    def add(self, layer: str, node: Node, parameters: Parameters) -> None:
        """Adds a layer, and a Split after it if several layers read its output."""
        inputs = [self.copies[name].pop() for name in node.inputs]
        self._line(layer, inputs, list(node.outputs), parameters)
        for output in node.outputs:
            self.copies[output] = [output]
            if self.uses[output] > 1:
                self.copies[output] = [f"{output}_{i}" for i in range(self.uses[output])]
                self._line("Split", [output], self.copies[output], {})

    def _line(
        self, layer: str, inputs: list[str], outputs: list[str], parameters: Parameters
    ) -> None:
        self.blobs += len(outputs)
        settings = [f"{key}={value}" for key, value in parameters.items()]
        counts = [str(len(inputs)), str(len(outputs))]
        self.lines.append(
            " ".join([layer, f"{outputs[0]}_layer", *counts, *inputs, *outputs, *settings])
        )


def _weighted(layer: str, node: Node, parameters: Parameters, writer: _Writer) -> None:
    kernel, bias = (np.asarray(array, "<f4") for array in node.weights)
    writer.add(layer, node, parameters)
    writer.weights += [_FLOAT32, kernel.tobytes(), bias.tobytes()]


def _conv(writer: _Writer, node: Node) -> None:
    settings, kernel = node.settings, node.weights.kernel
    top, left, bottom, right = settings["pads"]
    parameters = {0: kernel.shape[0], 1: kernel.shape[-1], 3: settings["stride"]}
    parameters |= {4: left, 14: top, 15: right, 16: bottom, 5: 1, 6: kernel.size}
    if settings["activation"]:
        parameters[9] = _RELU
    layer = "Convolution"
    if settings["groups"] > 1:
        layer, parameters[7] = "ConvolutionDepthWise", settings["groups"]
    _weighted(layer, node, parameters, writer)


def _dense(writer: _Writer, node: Node) -> None:
    kernel = node.weights.kernel
    _weighted("InnerProduct", node, {0: kernel.shape[0], 1: 1, 2: kernel.size}, writer)


def _pool(kind: int) -> Callable[[_Writer, Node], None]:
    def write(writer: _Writer, node: Node) -> None:
        top, left, bottom, right = node.settings["pads"]
        parameters = {0: kind, 1: POOL_SIZE, 2: POOL_STRIDE}
        # Pad mode 1: these pads and no others.
        parameters |= {3: left, 13: top, 14: right, 15: bottom, 5: 1}
        parameters[6] = int(node.settings["count_pads"])
        writer.add("Pooling", node, parameters)

    return write


def _split(writer: _Writer, node: Node) -> None:
    sizes = node.settings["sizes"]
    writer.add("Slice", node, {_ARRAY: ",".join(map(str, (len(sizes), *sizes))), 1: 0})


def _add(writer: _Writer, node: Node) -> None:
    if node.settings["activation"] is None:
        writer.add("BinaryOp", node, {0: 0})
        return
    (output,) = node.outputs
    linear = f"{output}_linear"
    writer.uses[linear] = 1
    writer.add("BinaryOp", replace(node, outputs=(linear,)), {0: 0})
    writer.add("ReLU", replace(node, inputs=(linear,)), {})


_WRITERS: dict[str, Callable[[_Writer, Node], None]] = {
    "input": lambda writer, node: writer.add("Input", node, {}),
    "conv": _conv,
    "dense": _dense,
    "add": _add,
    # A global average.
    "mean": lambda writer, node: writer.add("Pooling", node, {0: _AVERAGE, 4: 1}),
    "max_pool": _pool(_MAX),
    "average_pool": _pool(_AVERAGE),
    "split": _split,
    "concat": lambda writer, node: writer.add("Concat", node, {0: 0}),
    "shuffle": lambda w, node: w.add("ShuffleChannel", node, {0: node.settings["groups"]}),
}
