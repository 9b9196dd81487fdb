"""Only the convolutions: a lower bound of a deployment graph's time, not a usable network.

V2: every convolution of the trained network on tensors of the same sizes, one after the other; no
channel is moved except in one concatenation per stage. V1: the network without its shuffles.
"""

from collections.abc import Callable

import keras

from benchmarks.measuring.networks import NETWORKS, build
from converters.graph import reader
from converters.graph.deployment import deployment_graph
from converters.graph.operations import Graph
from keras_shufflenet import ShuffleNetV1, ShuffleUnitV2
from keras_shufflenet.permutations import PermutedTensor


def floor_graph(network: str, target: str = "cpu") -> Graph:
    """Returns the lower bound of a network in `benchmarks.measuring.networks.NETWORKS`."""
    if NETWORKS[network].func is ShuffleNetV1:
        return deployment_graph(build(network, shuffle=False), target)
    return convolutions_alone(build(network))


def convolutions_alone(model: keras.Model) -> Graph:
    """Returns the convolutions of a ShuffleNetV2, each on the output of the one before.

    Input, pooling and shapes of the convolutions are the model's; the results mean nothing.
    """
    return v2_graph(model, _stage)


def v2_graph(
    model: keras.Model,
    stage: Callable[[Graph, PermutedTensor, list[ShuffleUnitV2]], PermutedTensor],
) -> Graph:
    """Returns a ShuffleNetV2 whose stages are built by `stage`, the rest as trained."""
    graph = Graph()
    layers = {layer.name: layer for layer in model.layers}
    x = graph.input(model.input_shape[1:])
    x = _window(graph, x, "stem", layers["stem_conv"], layers["stem_bn"])
    x, padding = _pad(graph, x, "stem_pool", layers["stem_pool"])
    x = graph.pool(x, "stem_pool", "max_pool", padding)
    for units in reader.stages(model):
        x = stage(graph, x, units)
    x = _pointwise(graph, x, "head", layers["head_conv"], layers["head_bn"])
    x = graph.global_pool(x, "global_pool", "mean", keepdims=False)
    graph.dense(x, "predictions", reader.plain(layers["predictions"]))
    return graph


def shortcut_path(graph: Graph, x: PermutedTensor, unit: ShuffleUnitV2) -> PermutedTensor:
    """Adds the convolutions of a unit's shortcut."""
    name = f"{unit.name}_shortcut"
    x = _window(graph, x, name, unit.shortcut_depthwise, unit.shortcut_depthwise_bn)
    return _pointwise(
        graph, x, f"{name}_pointwise", unit.shortcut_pointwise, unit.shortcut_pointwise_bn
    )


def main_path(graph: Graph, x: PermutedTensor, unit: ShuffleUnitV2) -> PermutedTensor:
    """Adds the convolutions of a unit's main path."""
    x = _pointwise(graph, x, f"{unit.name}_pointwise1", unit.pointwise1, unit.pointwise1_bn)
    x = _window(graph, x, f"{unit.name}_depthwise", unit.depthwise, unit.depthwise_bn)
    return _pointwise(graph, x, f"{unit.name}_pointwise2", unit.pointwise2, unit.pointwise2_bn)


def _stage(graph: Graph, x: PermutedTensor, units: list[ShuffleUnitV2]) -> PermutedTensor:
    shortcut = shortcut_path(graph, x, units[0])
    for unit in units:
        x = main_path(graph, x, unit)
    joined = [shortcut, x.shifted(shortcut.channels)]
    return graph.concat(joined, f"{units[0].name}_join", len(joined))


def _pointwise(
    graph: Graph, x: PermutedTensor, name: str, layer: keras.layers.Layer, norm: keras.layers.Layer
) -> PermutedTensor:
    return graph.conv(x, name, reader.fold(layer, norm), activation="relu")


def _window(
    graph: Graph, x: PermutedTensor, name: str, layer: keras.layers.Layer, norm: keras.layers.Layer
) -> PermutedTensor:
    x, padding = _pad(graph, x, name, layer)
    folded, stride = reader.fold(layer, norm), layer.strides[0]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return graph.depthwise(x, name, folded, stride, padding)
    return graph.conv(x, name, folded, stride=stride, padding=padding, activation="relu")


def _pad(
    graph: Graph, x: PermutedTensor, name: str, layer: keras.layers.Layer
) -> tuple[PermutedTensor, str]:
    if layer.padding == "valid":
        return graph.pad(x, f"{name}_pad"), "valid"
    return x, "same"
