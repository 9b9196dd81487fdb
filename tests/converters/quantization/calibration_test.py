import numpy as np
import pytest

from converters.graph.operations import Graph
from converters.graph.operator import Folded
from converters.quantization import calibration
from converters.quantization.calibration import calibrate, pixel_range

BINS = calibration.BINS


def identity(size, weight=1.0, activation=None):
    """A graph of one 1x1 convolution that multiplies one channel by `weight`."""
    graph = Graph()
    image = graph.input((size, size, 1))
    kernel = np.full((1, 1, 1, 1), weight, np.float32)
    graph.conv(image, "conv", Folded(kernel, np.zeros(1, np.float32)), activation=activation)
    return graph


def images(values, size):
    return np.resize(np.float32(values), (-(-len(values) // size**2), size, size, 1))


def test_minmax_is_over_all_batches_and_contains_zero():
    # 20 images in batches of 16; the extremes are in different batches.
    x = np.linspace(1, 2, 20, dtype=np.float32)[:, None, None, None] * np.ones((1, 2, 2, 1))
    assert calibrate(identity(2), np.float32(x)) == {"image": (0, 2), "conv": (0, 2)}
    assert calibrate(identity(2, -1), np.float32(x))["conv"] == (-2, pytest.approx(0, abs=1e-5))
    x[3, 0, 0] = -4
    assert calibrate(identity(2, 0.5), np.float32(x)) == {"image": (-4, 2), "conv": (-2, 1)}


def test_tensors_of_one_scale_share_the_widest_range():
    graph = Graph()
    image = graph.input((2, 2, 1))
    branches = []
    for name, weight in {"double": 2.0, "negative": -1.0}.items():
        folded = Folded(np.full((1, 1, 1, 1), weight, np.float32), np.zeros(1, np.float32))
        branches.append(graph.conv(image, name, folded))
    graph.concat(branches, "both", 4)
    ranges = calibrate(graph, images([1, 2, 3, 4], 2))
    # One scale for both convolutions and their concatenation, another for the image.
    assert sorted(ranges.values()) == [(-4, 8), (0, 4)]


@pytest.mark.parametrize("method", calibration.METHODS)
def test_a_dead_convolution_gets_a_harmless_range(method):
    """With a scale near zero, XNNPACK could not run the file (see tflite_test.py)."""
    ranges = calibrate(identity(4, -1, "relu"), images(np.linspace(0.1, 1, 64), 4), method)
    assert ranges["conv"] == (0.0, 1.0)
    assert ranges["image"] == (0, 1)


def test_non_finite_activations_are_rejected_by_name():
    with pytest.raises(ValueError, match="'conv' is non-finite"):
        calibrate(identity(2, np.inf), np.ones((2, 2, 2, 1), np.float32))


def test_unknown_method_is_rejected():
    with pytest.raises(ValueError, match=r"`method` must be one of .* method='best'"):
        calibrate(identity(2), np.ones((2, 2, 2, 1), np.float32), "best")


def test_percentile_excludes_few_values_and_never_clips_the_image():
    values = np.tile(np.linspace(-1, 1, 4000), 16)
    x = images(values, 80)
    x.flat[:2] = 20.0  # 2 of 64,000: 3.1e-5, less than the 5e-5 of one side.
    bin_width = 21 / BINS
    ranges = calibrate(identity(80), x, "percentile")
    assert ranges["image"] == (-1, 20)
    low, high = ranges["conv"]
    assert -1 <= low <= -1 + bin_width and 1 - bin_width <= high <= 1 + bin_width
    x.flat[:4] = 20.0  # 6.3e-5: too many to exclude.
    assert calibrate(identity(80), x, "percentile")["conv"][1] == 20


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_a_known_range_of_the_input_does_not_depend_on_the_images(method):
    dark = images([-1, -0.5], 8)
    ranges = calibrate(identity(8), dark, method, pixel_range("tf"))
    assert ranges["image"] == (-1, 1)
    assert ranges["conv"][1] < 0.5
    assert calibrate(identity(8), dark, method)["image"] == (-1, 0)


def test_the_range_of_pixels():
    assert (pixel_range("tf"), pixel_range("raw"), pixel_range("torch")) == (
        (-1, 1),
        (0, 255),
        None,
    )


def test_percentile_keeps_the_end_at_zero_after_a_relu():
    low, high = calibrate(identity(8, 1, "relu"), images([-1, 3], 8), "percentile")["conv"]
    assert (low, high) == (0, 3)


@pytest.mark.parametrize("full", [0, BINS - 1])
def test_percentile_at_the_ends_of_the_histogram(full):
    histogram = np.zeros(BINS)
    histogram[full] = 7
    low, high = calibration._percentile_range(histogram, (-1.0, BINS - 1.0))
    # One bin, a unit wide, extended to contain zero.
    assert (low, high) == ((-1, 0) if full == 0 else (0, BINS - 1))


def test_mse_keeps_what_is_evenly_spread():
    # Clipping 1% of the range costs 3e-7; rounding in finer steps saves a tenth of that.
    assert calibration._mse_range(np.ones(BINS), (0.0, 1.0)) == (0.0, 1.0)


def test_mse_clips_a_lonely_value():
    # One value of a million is twice the others: clipping it costs 1e-6, halving the step saves
    # 3/4 of (2/255)^2 / 12 = 3.8e-6.
    histogram = np.zeros(BINS)
    histogram[: BINS // 2] = 1e6 / (BINS // 2)
    histogram[-1] = 1
    low, high = calibration._mse_range(histogram, (0.0, 2.0))
    assert low == 0 and 0.98 <= high <= 1.06
    histogram[-1] = 10  # 1e-5: too many to clip to half.
    assert calibration._mse_range(histogram, (0.0, 2.0))[1] > 1.5


def test_mse_error_is_that_of_quantizing_the_values():
    values = np.float32(np.random.default_rng(0).laplace(size=64 * 16))
    found = calibrate(identity(8), images(values, 8), "mse")["conv"]
    low, high = float(values.min()), float(values.max())

    def error(share):
        step = (high - low) * share / 255
        clipped = np.clip(values, low * share, high * share)
        return float(np.square(np.round(clipped / step) * step - values).mean())

    shares = np.linspace(calibration.SMALLEST_SHARE, 1, calibration.STEPS)
    best = min(shares, key=error)
    assert error(found[1] / high) <= 1.02 * error(best)
    assert found[0] / low == pytest.approx(found[1] / high)
