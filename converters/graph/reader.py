"""Reads the layers of a trained ShuffleNet: its stages, and weights with BatchNormalization."""

import re
from typing import Any

import keras
import numpy as np

from converters.graph.operator import Folded
from keras_shufflenet import ShuffleUnit, ShuffleUnitV2

_UNIT = re.compile(r"stage(\d+)_unit(\d+)")


def fold(layer: keras.layers.Layer, batch_norm: keras.layers.Layer) -> Folded:
    """Returns a convolution's weights with the BatchNormalization after it folded in.

    Computed in float64, so that folding adds no error beyond float32 rounding.
    """
    factor, shift = scale_and_shift(batch_norm)
    kernel = array(layer.kernel)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    kernel = kernel * (factor[:, None] if depthwise else factor)
    return Folded(kernel.astype(np.float32), shift.astype(np.float32))


def scale_and_shift(batch_norm: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a BatchNormalization computes in inference, `x * scale + shift`, [channels]."""
    mean, variance = array(batch_norm.moving_mean), array(batch_norm.moving_variance)
    gamma = 1 if batch_norm.gamma is None else array(batch_norm.gamma)
    beta = 0 if batch_norm.beta is None else array(batch_norm.beta)
    factor = gamma / np.sqrt(variance + batch_norm.epsilon)
    return factor, beta - mean * factor


def plain(layer: keras.layers.Layer) -> Folded:
    """Returns the kernel and bias of a layer without a BatchNormalization after it."""
    return Folded(array(layer.kernel, np.float32), array(layer.bias, np.float32))


def array(variable: Any, dtype: type = np.float64) -> np.ndarray:
    """Returns a variable's values, in float64 unless they are only copied."""
    return np.asarray(keras.ops.convert_to_numpy(variable), dtype)


def stages(model: keras.Model) -> list[list[ShuffleUnit | ShuffleUnitV2]]:
    """Returns the units of every stage, in order."""
    found: dict[int, list] = {}
    for layer in model.layers:
        if match := _UNIT.fullmatch(layer.name):
            found.setdefault(int(match[1]), []).append(layer)
    return [found[stage] for stage in sorted(found)]
