import keras
import numpy as np
import pytest

from converters.conversion_cache import Network
from experiments.harness.experiment import Settings
from experiments.measuring.latencies import Latencies, measure_networks


def build():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(3, name="predictions")(x))


def test_networks_are_converted_and_measured_side_by_side(tmp_path):
    settings = Settings(output=tmp_path, cache=tmp_path / "cache", passes=2, runs=1, seconds=0.0)
    # With two labels, but converted once.
    networks = {("one", label): Network("tiny", build, ()) for label in "ab"}
    found = measure_networks("trial", networks, settings)
    assert found.models["one", "a"] == {
        "macs": 6 * 6 * 27 * 4 + 4 * 3,
        # With biases, and without the moving statistics of the normalization.
        "parameters": 27 * 4 + 4 + 2 * 4 + 4 * 3 + 3,
    }
    for quantization in ("none", "int8-ptq"):
        times = found.ms("one", "a", quantization)
        assert times.shape == (2,) and (times > 0).all()
        ratio = found.ratio("one", "a", "b", quantization)
        # Not np.median, which rounds the mean of two values differently.
        expected = np.percentile(times / found.ms("one", "b", quantization), 50)
        assert ratio["median"] == expected
    record = found.as_json("one", "b")
    assert set(record["ms"]) == {"canonical"}
    assert set(record["ms"]["canonical"]) == {"float32", "int8"}
    assert len(list(settings.cache.iterdir())) == 1


def test_what_was_not_measured_is_null_in_json():
    times = {"g, float32": {"x, canonical": np.array([1.0, 3.0, 1.5])}}
    times["g, int8"] = {"x, canonical": np.array([1.0, np.nan])}
    found = Latencies(times, {("g", "x"): {"macs": 1}}, {("g", "x"): ("canonical",)})
    shown = found.as_json("g", "x")["ms"]["canonical"]
    assert shown["float32"] == pytest.approx({"median": 1.5, "p10": 1.1, "p90": 2.7})
    assert shown["int8"] == {"median": None, "p10": None, "p90": None}
    assert (found.text("g", "x", "none"), found.text("g", "x")) == ("1.50 (1.10-2.70)", "-")
