"""Reads the layers of a trained ShuffleNet: its stages, and weights with BatchNormalization."""

import re
from typing import Any

import keras
import numpy as np

from converters.graph.operations import Folded
from keras_shufflenet import ShuffleUnit, ShuffleUnitV2

_UNIT = re.compile(r"stage(\d+)_unit(\d+)")


def fold(layer: keras.layers.Layer, batch_norm: keras.layers.Layer) -> Folded:
    """Returns a convolution's weights with the BatchNormalization after it folded in.

    Computed in float64, so that folding adds no error beyond float32 rounding.
    """
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    gamma, beta, mean, variance = (_numpy(getattr(batch_norm, name)) for name in names)
    factor = gamma / np.sqrt(variance + batch_norm.epsilon)
    kernel = _numpy(layer.kernel)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    kernel = kernel * (factor[:, None] if depthwise else factor)
    return Folded(kernel.astype(np.float32), (beta - mean * factor).astype(np.float32))


def plain(layer: keras.layers.Layer) -> Folded:
    """Returns the kernel and bias of a layer without a BatchNormalization after it."""
    return Folded(_numpy(layer.kernel, np.float32), _numpy(layer.bias, np.float32))


def _numpy(variable: Any, dtype: type = np.float64) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), dtype)


def stages(model: keras.Model) -> list[list[ShuffleUnit | ShuffleUnitV2]]:
    """Returns the units of every stage, in order."""
    found: dict[int, list] = {}
    for layer in model.layers:
        if match := _UNIT.fullmatch(layer.name):
            found.setdefault(int(match[1]), []).append(layer)
    return [found[stage] for stage in sorted(found)]
