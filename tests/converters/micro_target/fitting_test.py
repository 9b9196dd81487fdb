import dataclasses
import re

import keras
import numpy as np
import pytest

from common.amounts import parse_amount
from common.cli import UserError
from common.tflite.micro_runtime import MicroRuntime
from converters.conversion.tflite import convert_fake_quant
from converters.graph.deployment import deployment_graph
from converters.micro_target.bands import Bands, Region, write_bands
from converters.micro_target.fitting import fit
from converters.micro_target.flat_graph import FlatGraph
from converters.micro_target.memory import moments, write_report
from converters.micro_target.settings import MemorySettings, parse_share, summary
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import fake_quant_model
from converters.random_weights import calibration_images, random_network
from keras_shufflenet import ShuffleNetV2

SIZE = 64


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("tflite_micro", reason="needs the extra micro")
    return random_network(
        lambda: ShuffleNetV2(
            stem_channels=16,
            stage_channels=(16, 32, 64),
            head_channels=32,
            classes=5,
            input_shape=(SIZE, SIZE, 3),
            classifier_activation=None,
        )
    )


def int8(model, io_dtype="int8"):
    graph = deployment_graph(model, "micro")
    ranges = calibrate(graph, calibration_images(model.input_shape))
    return convert_fake_quant(fake_quant_model(graph, ranges), io_dtype)


@pytest.fixture(scope="module")
def content(model):
    return int8(model)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("arenas")


def outputs(content, dtype=np.int8):
    low = np.iinfo(dtype).min
    images = np.random.default_rng(0).integers(low, low + 256, (2, 1, SIZE, SIZE, 3)).astype(dtype)
    runtime = MicroRuntime(content)
    return [runtime.run([image])[0].tolist() for image in images]


@pytest.mark.medium
def test_the_arena_shrinks_and_the_outputs_stay(content, cache):
    found = fit(content, MemorySettings(), cache)
    assert outputs(found.content) == outputs(content)
    entry = found.describe()
    assert entry["arena_before"] == MicroRuntime(content).arena_bytes()
    assert entry["arena_bytes"] == MicroRuntime(found.content).arena_bytes()
    assert entry["arena_bytes"] < 0.8 * entry["arena_before"]
    assert entry["bands"] == len(entry["stops"]) > 1 and entry["message"] is None
    assert 0 < entry["extra_share"] <= 0.1
    assert f"{entry['arena_before']:,} → {entry['arena_bytes']:,} bytes, the" in summary(entry)


@pytest.mark.medium
def test_a_limit_is_met_with_the_least_work_or_refused(content, cache, monkeypatch):
    smallest = fit(content, MemorySettings(), cache).chosen
    plain = fit(content, MemorySettings(bands="off"), cache)
    assert plain.chosen.extra_macs == 0
    assert plain.chosen.arena_bytes < plain.arena_before
    middle = (smallest.arena_bytes + plain.chosen.arena_bytes) // 2
    enough = fit(content, MemorySettings(arena=middle), cache).chosen
    assert enough.arena_bytes <= middle and enough.extra_macs <= smallest.extra_macs
    assert fit(content, MemorySettings(arena=10**6), cache).chosen.extra_macs == 0
    with pytest.raises(UserError, match=r"--arena=1024 cannot be reached: the smallest") as error:
        fit(content, MemorySettings(arena=1024), cache)
    # The size that it names is reached, to the byte.
    named = int(re.search(r"is ([\d,]+) bytes;", str(error.value))[1].replace(",", ""))
    assert fit(content, MemorySettings(arena=named), cache).chosen.arena_bytes == named
    with pytest.raises(UserError, match=r"--max_overhead=\d+(\.\d)?% reaches it"):
        fit(content, MemorySettings(arena=middle, max_overhead=0.001), cache)


@pytest.mark.medium
def test_measured_arenas_are_kept(content, cache, monkeypatch):
    before = fit(content, MemorySettings(), cache)
    monkeypatch.setattr(MicroRuntime, "allocations", None)
    assert dataclasses.asdict(fit(content, MemorySettings(), cache)) == dataclasses.asdict(before)


@pytest.mark.slow
def test_bytes_of_a_camera(model):
    content = int8(model, "uint8")
    graph = FlatGraph(content)
    write_bands(graph, Bands(16, Region(graph.clone(), 16).stops(3)))
    # TFLite Micro would refuse to cut a uint8 tensor when it runs.
    assert outputs(graph.pack(), np.uint8) == outputs(content, np.uint8)


@pytest.mark.medium
def test_a_network_that_has_no_rows_to_cut_is_left_as_it_is(cache):
    pytest.importorskip("tflite_micro", reason="needs the extra micro")
    image = keras.Input((12, 12, 3))
    x = keras.layers.Dense(4)(keras.layers.Flatten()(image))
    content = int8(keras.Model(image, x))
    found = fit(content, MemorySettings(), cache)
    assert found.message == "its beginning cannot be computed in bands: it has no convolution"
    assert found.describe()["bands"] == 0
    assert summary(found.describe()).endswith("it has no convolution")


@pytest.mark.medium
def test_where_the_arena_goes(content, tmp_path):
    write_report(content, tmp_path)
    text = (tmp_path / "memory.md").read_text()
    found, rows = MicroRuntime(content).allocations(), moments(content)
    parts = re.findall(r"\| ([\d,]+) \|$", text.partition("operators in")[0], re.M)
    assert sum(int(part.replace(",", "")) for part in parts) == found.total
    assert f"{found.total:,} bytes" in text and f"| feature maps | {found.head:,} |" in text
    # The image and the stem's output.
    assert rows[0][1:] == ((1, 32, 32, 16), SIZE * SIZE * 3 + 32 * 32 * 16)
    assert max(row.bytes for row in rows) <= found.head
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": "four"}, "--bands must be one of auto, off; received 'four'"),
        ({"max_overhead": -0.1}, "--max_overhead must be from 0% to 100% .*; received -0.1"),
        ({"max_overhead": float("nan")}, "--max_overhead must be from 0% to 100% .*; received nan"),
        ({"bands": "off", "arena": 1}, "--arena needs --bands=auto"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(UserError, match=message):
        MemorySettings(**change)


def test_shares_are_parsed():
    assert parse_share("max_overhead", " 7.5% ") == 0.075
    assert parse_share("max_overhead", "1") == 1
    for text in ("ten", "10%%", "10 % of it", ""):
        with pytest.raises(UserError, match=r"--max_overhead must be a share such as 10% or 0\.1"):
            parse_share("max_overhead", text)
    assert parse_amount("arena", "128KB") == 131072
