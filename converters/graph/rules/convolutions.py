"""Convolutions, fully connected layers and BatchNormalization."""

from typing import Any

import keras
import numpy as np

from converters.graph import reader
from converters.graph.operator import Folded
from converters.graph.rules.activations import activate
from converters.graph.rules.registry import Call, RuleError, check_channels_last, rules
from converters.graph.shapes import map_shape, single
from keras_shufflenet.layers import GroupedPointwise
from keras_shufflenet.permutations import PermutedTensor
from keras_shufflenet.preprocessing import Conv2D as StemConv2D

_LAYERS = keras.layers


def _weights(kernel: Any, bias: Any, outputs: int) -> Folded:
    kernel = reader.array(kernel, np.float32)
    if bias is None:
        return Folded(kernel, np.zeros(outputs, np.float32))
    return Folded(kernel, reader.array(bias, np.float32))


@rules(_LAYERS.Conv2D, GroupedPointwise, StemConv2D)
def _conv(call: Call) -> PermutedTensor:
    layer = call.layer
    check_channels_last(layer)
    weights = _weights(layer.kernel, layer.bias, layer.filters)
    settings = {
        "stride": single(layer.strides),
        # A window of one pixel meets no border: both paddings are the same.
        "padding": "same" if tuple(layer.kernel_size) == (1, 1) else layer.padding,
        "dilation": single(layer.dilation_rate),
    }
    x = convolution(call, weights, layer.groups, settings)
    return activate(call.graph, x, layer.activation, f"{call.name}_activation")


def convolution(call: Call, weights: Folded, groups: int, settings: dict) -> PermutedTensor:
    """Adds a convolution, or one a group for targets without grouped convolutions."""
    graph, x = call.graph, call.x
    if groups == 1:
        return graph.conv(x, call.name, weights, **settings)
    size = x.channels // groups
    if (x.order // size != np.arange(x.channels) // size).any():
        x = graph.in_order(x, f"{call.name}_order")
    if call.lowering.grouped == "group":
        return graph.conv(x, call.name, weights, groups=groups, **settings)
    outputs = weights.kernel.shape[-1] // groups
    parts = []
    for group in range(groups):
        piece = graph.slice(x, f"{call.name}_group{group}", group * size, (group + 1) * size)
        order = np.arange(group * outputs, (group + 1) * outputs)
        name = f"{call.name}_conv{group}"
        shifted = piece.shifted(-group * size)
        parts.append(graph.conv(shifted, name, weights, order=order, **settings))
    return graph.concat(parts, call.name, call.lowering.most_concatenated)


@rules(_LAYERS.DepthwiseConv2D)
def _depthwise(call: Call) -> PermutedTensor:
    layer = call.layer
    check_channels_last(layer)
    outputs = int(np.prod(layer.kernel.shape[2:]))
    weights = _weights(layer.kernel, layer.bias, outputs)
    x = call.graph.depthwise(
        call.x,
        call.name,
        weights,
        _depthwise_stride(layer),
        layer.padding,
        single(layer.dilation_rate),
    )
    return activate(call.graph, x, layer.activation, f"{call.name}_activation")


def _depthwise_stride(layer: Any) -> int:
    rows, columns = layer.strides
    if rows != columns:
        raise RuleError(f"strides={layer.strides}: a depthwise convolution needs equal ones")
    return rows


@rules(_LAYERS.SeparableConv2D)
def _separable(call: Call) -> PermutedTensor:
    layer = call.layer
    check_channels_last(layer)
    outputs = int(np.prod(layer.depthwise_kernel.shape[2:]))
    x = call.graph.depthwise(
        call.x,
        f"{call.name}_depthwise",
        _weights(layer.depthwise_kernel, None, outputs),
        _depthwise_stride(layer),
        layer.padding,
        single(layer.dilation_rate),
    )
    x = call.graph.conv(x, call.name, _weights(layer.pointwise_kernel, layer.bias, layer.filters))
    return activate(call.graph, x, layer.activation, f"{call.name}_activation")


@rules(_LAYERS.Conv2DTranspose)
def _transposed(call: Call) -> PermutedTensor:
    layer = call.layer
    check_channels_last(layer)
    if layer.output_padding is not None or tuple(layer.dilation_rate) != (1, 1):
        raise RuleError("output_padding and dilation_rate of a transposed convolution")
    weights = _weights(layer.kernel, layer.bias, layer.filters)
    x = call.graph.conv_transpose(call.x, call.name, weights, tuple(layer.strides), layer.padding)
    return activate(call.graph, x, layer.activation, f"{call.name}_activation")


@rules(_LAYERS.Dense)
def _dense(call: Call) -> PermutedTensor:
    layer, graph, name = call.layer, call.graph, call.name
    weights = _weights(layer.kernel, layer.bias, layer.units)
    # The last layer's operator has had this name from the beginning.
    activation = "probabilities" if name == "predictions" else f"{name}_activation"
    if len(call.shape) == 1:
        x = graph.dense(call.x, name, weights)
    else:  # On every pixel: a 1x1 convolution.
        weights = Folded(weights.kernel[np.newaxis, np.newaxis], weights.bias)
        x = as_map(call, lambda x: graph.conv(x, name, weights))
    return activate(graph, x, layer.activation, activation)


def as_map(call: Call, add: Any) -> PermutedTensor:
    """Calls `add` with the input as (height, width, channels); the result has the input's axes."""
    graph, points = call.graph, call.shape[:-1]
    if len(points) > 2:
        raise RuleError(f"an input of {len(points) + 1} axes")
    x = add(graph.reshape(call.x, f"{call.name}_map", map_shape(call.shape)))
    return graph.reshape(x, f"{call.name}_points", (*points, x.channels))


@rules(_LAYERS.BatchNormalization)
def _batch_norm(call: Call) -> PermutedTensor:
    layer, rank = call.layer, len(call.shape)
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    if axis not in (-1, rank):
        raise RuleError(f"axis={layer.axis}: only the last axis is supported")
    return call.graph.affine(call.x, call.name, *reader.scale_and_shift(layer))
