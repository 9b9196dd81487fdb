"""Layers that pool, pad, cut, resize or reshape maps, and those that do nothing in inference."""

from typing import Any

import keras
import numpy as np

from converters.graph.rules.registry import Call, RuleError, check_channels_last, rules
from converters.graph.shapes import pair, single
from keras_shufflenet.layers import ShortcutPool
from keras_shufflenet.permutations import PermutedTensor

_LAYERS = keras.layers
_METHODS = ("bilinear", "nearest")


@rules(
    _LAYERS.Dropout,
    _LAYERS.SpatialDropout1D,
    _LAYERS.SpatialDropout2D,
    _LAYERS.AlphaDropout,
    _LAYERS.GaussianDropout,
    _LAYERS.GaussianNoise,
    _LAYERS.ActivityRegularization,
    _LAYERS.Identity,
    _LAYERS.RandomBrightness,
    _LAYERS.RandomContrast,
    _LAYERS.RandomCrop,
    _LAYERS.RandomFlip,
    _LAYERS.RandomRotation,
    _LAYERS.RandomTranslation,
    _LAYERS.RandomZoom,
)
def _nothing(call: Call) -> PermutedTensor:
    if isinstance(call.layer, _LAYERS.RandomCrop):
        size = (call.layer.height, call.layer.width)
        if size != call.shape[:2]:
            raise RuleError("it crops or resizes in inference, too; do that before the model")
    return call.x


@rules(_LAYERS.MaxPooling2D)
def _max_pool(call: Call) -> PermutedTensor:
    layer = call.layer
    check_channels_last(layer)
    return call.graph.pool(
        call.x, call.name, "max_pool", layer.padding, single(layer.pool_size), single(layer.strides)
    )


@rules(_LAYERS.AveragePooling2D, ShortcutPool)
def _average_pool(call: Call) -> PermutedTensor:
    layer = call.layer
    check_channels_last(layer)
    window, stride = single(layer.pool_size), single(layer.strides)
    # At edges the factors are only exact in int8 for 3x3 of stride 2.
    exact = layer.padding == "valid" or (window, stride) == (3, 2)
    if call.lowering.average_pool == "depthwise" and exact and isinstance(stride, int):
        return call.graph.depthwise_average(call.x, call.name, layer.padding, window, stride)
    return call.graph.pool(call.x, call.name, "average_pool", layer.padding, window, stride)


@rules(_LAYERS.GlobalAveragePooling2D, _LAYERS.GlobalMaxPooling2D)
def _global_pool(call: Call) -> PermutedTensor:
    check_channels_last(call.layer)
    is_mean = isinstance(call.layer, _LAYERS.GlobalAveragePooling2D)
    kind = "mean" if is_mean else "global_max"
    return call.graph.global_pool(call.x, call.name, kind, bool(call.layer.keepdims))


@rules(_LAYERS.ZeroPadding2D)
def _pad(call: Call) -> PermutedTensor:
    check_channels_last(call.layer)
    return call.graph.pad(call.x, call.name, _amounts(call.layer.padding))


@rules(_LAYERS.Cropping2D)
def _crop(call: Call) -> PermutedTensor:
    check_channels_last(call.layer)
    return call.graph.crop(call.x, call.name, _amounts(call.layer.cropping))


def _amounts(value: Any) -> tuple[tuple[int, int], ...]:
    return tuple(tuple(int(number) for number in pads) for pads in value)


@rules(_LAYERS.UpSampling2D)
def _upsample(call: Call) -> PermutedTensor:
    layer = call.layer
    size = [
        extent * factor for extent, factor in zip(call.shape[:2], pair(layer.size), strict=True)
    ]
    return _resized(call, size, layer.interpolation)


@rules(_LAYERS.Resizing)
def _resizing(call: Call) -> PermutedTensor:
    layer = call.layer
    if layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio or layer.antialias:
        raise RuleError("crop_to_aspect_ratio, pad_to_aspect_ratio and antialias")
    return _resized(call, (layer.height, layer.width), layer.interpolation)


def _resized(call: Call, size: Any, method: str) -> PermutedTensor:
    check_channels_last(call.layer)
    if method not in _METHODS:
        raise RuleError(f"interpolation={method!r}: only {' and '.join(_METHODS)} are supported")
    return call.graph.resize(call.x, call.name, size, method)


@rules(_LAYERS.Flatten)
def _flatten(call: Call) -> PermutedTensor:
    check_channels_last(call.layer)
    return call.graph.reshape(call.x, call.name, (int(np.prod(call.shape)),))


@rules(_LAYERS.Reshape)
def _reshape(call: Call) -> PermutedTensor:
    shape = list(call.layer.target_shape)
    if -1 in shape:
        known = -int(np.prod(shape))
        shape[shape.index(-1)] = int(np.prod(call.shape)) // known
    return call.graph.reshape(call.x, call.name, shape)


@rules(_LAYERS.Permute)
def _permute(call: Call) -> PermutedTensor:
    return call.graph.permute(call.x, call.name, [axis - 1 for axis in call.layer.dims])
