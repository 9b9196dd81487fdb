from collections import Counter
from functools import partial

import numpy as np
import pytest

from benchmarks.measuring import files, networks
from benchmarks.measuring.lower_bound import convolutions_alone, floor_graph
from benchmarks.measuring.networks import build
from common.tflite.operators import operator_counts
from converters.graph.deployment import deployment_graph
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2

pytestmark = pytest.mark.medium

TINY = {
    "input_shape": (32, 32, 3), "classes": 3, "units_per_stage": (2, 2, 2),
    "classifier_activation": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch):
    tiny = {
        "v2": partial(ShuffleNetV2, 0.5, **TINY),
        "v2-symmetric": partial(ShuffleNetV2, 0.5, padding="symmetric", **TINY),
        "v1": partial(ShuffleNetV1, 0.25, 3, **TINY),
    }
    for name, network in tiny.items():
        monkeypatch.setitem(networks.NETWORKS, name, network)


def test_networks_are_the_same_every_time():
    first, second = build("v2"), build("v2")
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def weights_of(graph, kind):
    return sum(op.weights.kernel.size for op in graph.ops.values() if op.kind == kind)


@pytest.mark.parametrize("name", ["v2", "v2-symmetric"])
def test_the_lower_bound_has_the_networks_convolutions_and_moves_nothing(name):
    model = build(name)
    floor, deployed = convolutions_alone(model), deployment_graph(model)
    for kind in ("conv", "depthwise", "dense"):
        assert weights_of(floor, kind) == weights_of(deployed, kind)
    kinds = Counter(op.kind for op in floor.ops.values())
    assert kinds["slice"] == kinds["transpose"] == 0 and kinds["concat"] == 3
    assert kinds["pad"] == Counter(op.kind for op in deployed.ops.values())["pad"]


def test_the_lower_bound_of_v1_has_no_shuffle():
    kinds = Counter(op.kind for op in floor_graph("v1").ops.values())
    assert kinds["transpose"] == 0 and kinds["concat"] == 3


@pytest.mark.slow
def test_files_are_converted_once(tmp_path):
    path = files.int8_file("v2", "deployment", "cpu", tmp_path)
    assert "TRANSPOSE" not in operator_counts(path)
    written = path.stat().st_mtime_ns
    assert files.int8_file("v2", "deployment", "cpu", tmp_path) == path
    assert path.stat().st_mtime_ns == written


def test_canonical_files_serve_every_target(tmp_path):
    path = files.int8_file("v2", "canonical", "cpu", tmp_path)
    assert operator_counts(path)["TRANSPOSE"]["count"] == 6
    assert files.int8_file("v2", "canonical", "micro", tmp_path) == path
