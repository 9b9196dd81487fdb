"""The graphs for runtimes other than LiteRT: the trained network's own, and one without shuffles.

The first is what PyTorch's exporters would write, but with BatchNormalization folded, so that no
runtime is slower because of the export.
"""

import keras
import numpy as np

from benchmarks.measuring.lower_bound import main_path, shortcut_path, v2_graph
from converters.graph import reader
from converters.graph.deployment import deployment_graph
from converters.graph.operations import Graph
from converters.graph.targets import ONNX_LOWERING, UNLIMITED
from keras_shufflenet import ShuffleUnitV2
from keras_shufflenet.permutations import PermutedTensor

_SHUFFLE_GROUPS = 2


def is_v2(model: keras.Model) -> bool:
    """Returns whether the network is a ShuffleNetV2, which has a graph without shuffles."""
    return isinstance(reader.stages(model)[0][0], ShuffleUnitV2)


def plain_graph(model: keras.Model) -> Graph:
    """Returns the graph of a ShuffleNetV1 or ShuffleNetV2 as it was trained, with its shuffles.

    V1's shuffle is after the depthwise convolution: at stride 2 it moves a quarter of the data
    there.

    Examples:
      >>> logits = emit(plain_graph(model))(images)
    """
    return (
        v2_graph(model, _stage) if is_v2(model) else deployment_graph(model, lowering=ONNX_LOWERING)
    )


def shuffle_free_graph(model: keras.Model) -> Graph:
    """Returns the deployment graph of a ShuffleNetV2 in a lowering for any runtime."""
    return deployment_graph(model, lowering=ONNX_LOWERING)


def _stage(graph: Graph, x: PermutedTensor, units: list[ShuffleUnitV2]) -> PermutedTensor:
    for unit in units:
        if unit.stride == 1:
            half = x.channels // 2
            left = _slice(graph, x, f"{unit.name}_left", 0, half)
            right = _slice(graph, x, f"{unit.name}_right", half, 2 * half)
        else:
            left, right = shortcut_path(graph, x, unit), x
        right = main_path(graph, right, unit)
        x = graph.concat([left, right.shifted(left.channels)], f"{unit.name}_join", UNLIMITED)
        x = _renumbered(graph.transpose(x, f"{unit.name}_shuffle", _SHUFFLE_GROUPS))
    return x


def _slice(graph: Graph, x: PermutedTensor, name: str, start: int, stop: int) -> PermutedTensor:
    return _renumbered(graph.slice(x, name, start, stop))


def _renumbered(x: PermutedTensor) -> PermutedTensor:
    # After a slice or a shuffle, a layer's channel 0 is the first one of its input.
    return PermutedTensor(x.tensor, np.arange(x.channels))
