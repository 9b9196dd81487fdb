"""Finds the ranges of the activations, which int8 must represent, from real images."""

from collections.abc import Iterator, Sequence

import numpy as np
import tf_keras

from converters.graph.emitter import emit
from converters.graph.operations import Graph
from converters.graph.scales import FIXED_RANGES, SAME_SCALE, scale_groups
from converters.options import METHODS
from converters.quantization.fake_quantization import Range
from keras_shufflenet.preprocessing import PREPROCESSING

BATCH = 16
BINS = 2048
# The scale of the network's input.
_INPUT = "image"
_BRIGHTEST = 255
# The share of all values outside a percentile range, half of it on each side.
OUTSIDE = 1e-4
# A tensor that is always zero, or nearly, would get a scale near zero, and XNNPACK cannot run a
# file with scales so far apart. Any other range represents the tensor equally well.
SMALLEST_WIDTH, DEAD_RANGE = 1e-4, (0.0, 1.0)
# An MSE range is found by shrinking the min/max range in steps to this share of itself.
SMALLEST_SHARE, STEPS = 0.3, 71


def pixel_range(preprocessing: str) -> Range | None:
    """Returns the range of all pixels as the network's input, or None if it differs by channel.

    256 steps of it are the 256 values of a pixel, so nothing is lost where images use fewer, no
    later image is clipped, and an integer input takes a camera's bytes as they are.

    Args:
      preprocessing: a mode of `keras_shufflenet.preprocess_input`.

    Examples:
      >>> pixel_range("tf")
      (-1.0, 1.0)
    """
    mode = PREPROCESSING[preprocessing]
    if len(mode.scale) > 1:
        return None
    return mode.offset[0], _BRIGHTEST * mode.scale[0] + mode.offset[0]


def calibrate(
    graph: Graph,
    images: np.ndarray | Sequence[np.ndarray],
    method: str = "minmax",
    pixels: Range | None = None,
) -> dict[str, Range]:
    """Returns the range of every shared int8 scale over calibration images.

    Args:
      graph: the deployment graph.
      images: float32 (n, height, width, channels), preprocessed as for training; with several
        inputs, an array for each.
      method: "minmax", "percentile" (99.99% of the values) or "mse" (the range whose rounding and
        clipping have the least squared error).
      pixels: the input's range if it is known; None: that of the images.

    Returns:
      (minimum, maximum) by the name of the scale; each range contains zero, as padding needs.

    Raises:
      ValueError: the method is unknown, or an activation is non-finite.

    Examples:
      >>> ranges = calibrate(graph, preprocess_input(images_uint8), "mse")
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}. Received: method={method!r}")
    extremes: dict[str, Range] = {}
    for name, values in _activations(graph, images):
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise ValueError(f"an activation of {name!r} is non-finite: the model is broken")
        before = extremes.get(name, (0.0, 0.0))
        extremes[name] = (min(before[0], low), max(before[1], high))
    if pixels is not None:
        extremes[_INPUT] = pixels
    dead = {name for name, (low, high) in extremes.items() if high - low < SMALLEST_WIDTH}
    extremes.update(dict.fromkeys(dead, DEAD_RANGE))
    if method == "minmax":
        return extremes
    choose = {"percentile": _percentile_range, "mse": _mse_range}[method]
    histograms = {name: np.zeros(BINS) for name in extremes}
    for name, values in _activations(graph, images):
        histograms[name] += np.histogram(values, BINS, extremes[name])[0]
    return {
        # Clipping the input would clip every image.
        name: extremes[name] if name in dead | {_INPUT} else choose(histogram, extremes[name])
        for name, histogram in histograms.items()
    }


def _activations(
    graph: Graph, images: np.ndarray | Sequence[np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (name of the scale, values) of every quantized tensor, batch by batch."""
    groups = scale_groups(graph)
    quantized = [
        op.name
        for op in graph.ops.values()
        if not (SAME_SCALE[op.kind] or op.is_float or op.kind in FIXED_RANGES)
    ]
    taps: dict[str, object] = {}
    model = emit(graph, after=lambda op, x: taps.setdefault(op.name, x))
    tapped = tf_keras.Model(model.input, {name: taps[name] for name in quantized})
    arrays = [images] if isinstance(images, np.ndarray) else list(images)
    for start in range(0, len(arrays[0]), BATCH):
        batch = [array[start : start + BATCH] for array in arrays]
        found = tapped(batch)
        for name in quantized:
            yield groups[name], found[name].numpy()


def _percentile_range(histogram: np.ndarray, extremes: Range) -> Range:
    edges = np.linspace(*extremes, BINS + 1)
    share = np.cumsum(histogram) / histogram.sum()
    low = edges[np.searchsorted(share, OUTSIDE / 2)]
    high = edges[np.searchsorted(share, 1 - OUTSIDE / 2) + 1]
    # An end at zero (after a ReLU) stays at zero.
    return (float(min(low, 0.0)) if extremes[0] < 0 else 0.0, float(max(high, 0.0)))


def _mse_range(histogram: np.ndarray, extremes: Range) -> Range:
    edges = np.linspace(*extremes, BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    best, best_error = extremes, np.inf
    for share in np.linspace(SMALLEST_SHARE, 1.0, STEPS):
        low, high = extremes[0] * share, extremes[1] * share
        step = (high - low) / 255
        clipped = np.clip(centres, low, high)
        rounded = np.round(clipped / step) * step
        error = float(histogram @ (rounded - centres) ** 2)
        if error < best_error:
            best, best_error = (low, high), error
    return best
