import dataclasses

import numpy as np
import pytest

from common.cli import UserError
from edge.devices import DEVICES, Result
from edge.profiling.layers import read_layers
from experiments.harness.experiment import Settings
from experiments.networks.models import MODELS
from experiments.tables import decomposition
from experiments.tables.decomposition import Decomposed, run


@pytest.fixture
def small_network(monkeypatch, artifact_dir):
    """Instead of the papers' networks the tests' small one, only its deployment graph."""
    monkeypatch.setattr(decomposition, "NETWORKS", ("v2-1x",))
    model = dataclasses.replace(MODELS["v2-1x"], graphs=("deployment",))
    monkeypatch.setitem(MODELS, "v2-1x", model)
    monkeypatch.setattr(
        decomposition, "convert_all", lambda all, cache: {all[0].name: artifact_dir}
    )
    return artifact_dir


def test_shares():
    times = {"convolution": np.array([30.0, 40.0]), "depthwise": np.array([70.0, 60.0])}
    one = Decomposed("net", "canonical", "none", times, {"convolution": 3, "depthwise": 1})
    assert one.share("convolution") == 0.35
    assert one.share("pooling") == 0 and one.macs_share("convolution") == 0.75


def test_a_small_run(small_network):
    result = run(Settings(passes=2, runs=5))
    float_times, int8_times, macs = result.tables
    for table in (float_times, int8_times):
        (row,) = table.rows
        shares = [float(cell.rstrip("%")) for cell in row[2:] if cell != "-"]
        assert row[0] == "v2-1x, deployment" and sum(shares) == pytest.approx(100, abs=1)
    layers = read_layers(small_network / "deployment_float32.tflite")
    total = sum(layer.macs for layer in layers)
    assert macs.rows[0][1] == f"{total / 1e6:.1f}"
    assert "v2-1x in int8: convolutions other than depthwise have" in result.verdicts[1]


class FakePhone:
    """A phone, with what its benchmark_model reported."""

    profile = None

    def takes(self, entry):
        return True

    def prepare(self, job):
        """Does nothing."""

    def run(self, job):
        yield Result(job.files[0], {"latency_ms": {"median": 1.0}, "profile": self.profile})

    def clean_up(self):
        """Does nothing."""


def test_a_phone_s_own_profile(monkeypatch, small_network):
    monkeypatch.setitem(DEVICES, "phone", FakePhone)
    with pytest.raises(UserError, match=r"phone does not report where the time of .* goes"):
        run(Settings(device="phone"))
    nodes = [{"operator": "CONV_2D", "ms": 0.3}, {"operator": "TRANSPOSE", "ms": 0.1}]
    monkeypatch.setattr(FakePhone, "profile", {"nodes": nodes})
    table = run(Settings(device="phone")).tables[0]
    assert table.headers[2:] == ["convolution", "data movement"]
    assert table.rows[0][2:] == ["75.0%", "25.0%"]
