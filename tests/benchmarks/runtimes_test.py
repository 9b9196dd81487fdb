import itertools
from collections import Counter
from functools import partial

import numpy as np
import pytest

from benchmarks.measuring import networks
from benchmarks.measuring.networks import build
from benchmarks.other_runtimes import comparison as runtime_comparison
from benchmarks.other_runtimes import models
from benchmarks.other_runtimes.comparison import (
    RuntimesConfig,
    check_outputs,
    compare_all,
    difference,
    runtimes_table,
    summarize,
)
from benchmarks.other_runtimes.files import OURS, Comparison, Variant, settle_batch_norms, variants
from benchmarks.other_runtimes.nchw import nodes
from benchmarks.other_runtimes.ncnn_export import ncnn_files
from benchmarks.other_runtimes.plain_graph import is_v2, plain_graph, shuffle_free_graph
from common.choices import choose
from common.cli import UserError
from converters.graph.emitter import emit
from edge.running.side_by_side import Turns
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2
from keras_shufflenet.keras_internals import flat_layers

pytestmark = pytest.mark.medium

# Of the logits' standard deviation.
BOUND = 1e-4
TINY = {
    "input_shape": (64, 64, 3), "classes": 10, "units_per_stage": (2, 3, 2),
    "classifier_activation": None,
}  # fmt: skip
TINY_NETWORKS = {
    "v2": partial(ShuffleNetV2, 0.5, **TINY),
    "v2-symmetric": partial(ShuffleNetV2, 0.5, padding="symmetric", **TINY),
    "v1": partial(ShuffleNetV1, 0.5, 3, **TINY),
    "v1-symmetric": partial(ShuffleNetV1, 0.5, 3, padding="symmetric", **TINY),
}


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch):
    for name, network in TINY_NETWORKS.items():
        monkeypatch.setitem(networks.NETWORKS, name, network)


@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(8, 64, 64, 3)).astype(np.float32)


@pytest.mark.parametrize("name", TINY_NETWORKS)
def test_the_graphs_compute_the_same_as_keras(name, images):
    model = build(name)
    settle_batch_norms(model, images)
    expected = np.asarray(model(images))
    graphs = [plain_graph(model), shuffle_free_graph(model)]
    for graph in graphs:
        found = np.asarray(emit(graph)(images))
        assert np.abs(found - expected).max() <= BOUND * expected.std()


def test_images_make_a_difference(images):
    model = build("v2")
    settle_batch_norms(model, images)
    logits = np.asarray(model(images))
    assert logits.std(axis=0).mean() > 0.05 * logits.std()
    assert {norm.momentum for norm in flat_layers(model) if hasattr(norm, "momentum")} == {
        build("v2").get_layer("stem_bn").momentum
    }


def test_shuffles_and_slices_in_other_runtimes_terms():
    model = build("v2")
    plain = Counter(node.kind for node in nodes(plain_graph(model)))
    # Seven units; the first of each stage has nothing to split.
    assert plain["shuffle"] == 7 and plain["split"] == 4
    assert Counter(node.kind for node in nodes(shuffle_free_graph(model)))["shuffle"] == 0


@pytest.mark.parametrize(("name", "pads"), [("v2", (0, 0, 1, 1)), ("v2-symmetric", (1, 1, 1, 1))])
def test_pads_are_explicit(name, pads):
    found = nodes(plain_graph(build(name)))
    halving = [node for node in found if node.settings.get("stride") == 2]
    # The stem, and both paths of three units.
    assert len(halving) == 7 and {node.settings["pads"] for node in halving} == {pads}
    others = [node for node in found if node.kind == "conv" and node not in halving]
    kernels = {node.weights.kernel.shape[-1]: node.settings["pads"] for node in others}
    assert kernels == {1: (0, 0, 0, 0), 3: (1, 1, 1, 1)}


def test_operators_of_other_networks_are_refused():
    model = ShuffleNetV1(scale=0.5, se=True, **TINY)
    with pytest.raises(ValueError, match="is of the kind 'sigmoid'"):
        nodes(plain_graph(model))


@pytest.mark.parametrize("name", ["v2", "v1"])
def test_ncnn_files_are_consistent(name):
    graph = plain_graph(build(name))
    param, weights = ncnn_files(graph)
    magic, counts, *lines = param.splitlines()
    produced, consumed = [], []
    for line in lines:
        _, _, inputs, outputs, *rest = line.split()
        consumed += rest[: int(inputs)]
        produced += rest[int(inputs) : int(inputs) + int(outputs)]
    assert magic == "7767517" and counts == f"{len(lines)} {len(produced)}"
    # Every blob has one producer and one consumer, except the logits.
    assert len(set(produced)) == len(produced) and len(set(consumed)) == len(consumed)
    assert set(produced) - set(consumed) == {"predictions"}
    weighted = [op.weights for op in graph.ops.values() if op.weights is not None]
    sizes = [4 + kernel.nbytes + bias.nbytes for kernel, bias in weighted]
    assert len(weights) == sum(sizes)


def test_variants():
    found = variants(("ncnn", "openvino"), shuffle_free=True)
    assert found[0] == OURS and len(set(found)) == len(found) == 4 + 2 + 4
    assert Variant("ncnn", "canonical", "int8") not in found
    v1 = variants(("ncnn",), shuffle_free=False)
    assert [variant for variant in v1 if variant.runtime == "ncnn"] == [
        Variant("ncnn", "canonical", "float32")
    ]


def config(tmp_path, network="v2", runtimes=()):
    turns = Turns(rounds=2, processes=2, invokes=1, core=0)
    return RuntimesConfig((network,), runtimes, tmp_path, turns)


def checked(monkeypatch, tmp_path, precision, change):
    """Checks a runtime whose logits are Keras's after `change`."""
    logits = np.random.default_rng(0).normal(size=(3, 10))
    comparison = Comparison({Variant("ncnn", "canonical", precision): tmp_path}, tmp_path, logits)
    reply = {"logits": [change(logits).tolist()]}
    monkeypatch.setattr("edge.running.worker.call", lambda *unused: reply)
    return check_outputs("v2", comparison, config(tmp_path))


@pytest.mark.parametrize(("precision", "factor"), [("float32", 1 + 1e-6), ("int8", 1.01)])
def test_rounding_is_accepted(monkeypatch, tmp_path, precision, factor):
    assert len(checked(monkeypatch, tmp_path, precision, lambda logits: logits * factor)) == 1


@pytest.mark.parametrize(
    ("precision", "change"),
    [
        ("float32", lambda logits: logits * 1.01),
        *itertools.product(("float32", "int8"), (lambda logits: logits * np.nan, np.ones_like)),
    ],
)
def test_a_wrong_runtime_is_not_timed(monkeypatch, tmp_path, precision, change):
    message = f"ncnn's {precision} canonical graph of v2 does not compute what Keras does"
    with pytest.raises(UserError, match=message):
        checked(monkeypatch, tmp_path, precision, change)


def test_difference():
    expected = np.array([[1.0, -1.0], [1.0, -1.0]])
    found = difference(np.array([[1.0, -1.0], [1.0, -0.5]]), expected)
    assert found["max_abs_error"] == found["relative_error"] == 0.5
    assert found["cosine"] == pytest.approx(1.5 / np.sqrt(2 * 1.25))


def test_ratios_are_of_the_same_round_and_the_table_shows_the_best():
    found = [
        Variant("openvino", "canonical", "int8"),
        Variant("openvino", "canonical", "float32"),
        Variant("ncnn", "canonical", "float32"),
        Variant("litert", "deployment", "float32"),
        OURS,
    ]
    check = {"max_abs_error": 2e-6, "relative_error": 1e-6, "cosine": 0.987}
    times = np.array([[3.0, 6.0], [4.0, 8.0], [2.0, 8.0], [2.0, 4.0], [1.0, 2.0]])
    summaries = summarize(found, [check] * len(found), times)
    assert summaries[0]["to_ours"] == {"median": 3.0, "p10": 3.0, "p90": 3.0}
    assert runtimes_table({"v2-1x": summaries}).splitlines()[2:] == [
        "| v2-1x, OpenVINO, canonical | 6.000 (4.400-7.600) | 4.500 (3.300-5.700) "
        "| **3.00x** (3.00-3.00) | 2e-06 | 0.987 |",
        "| v2-1x, ncnn, canonical | 5.000 (2.600-7.400) | float32 only "
        "| **3.00x** (2.20-3.80) | 2e-06 |  |",
        "| v2-1x, LiteRT, deployment | 3.000 (2.200-3.800) | 1.500 (1.100-1.900) "
        "| ours | 2e-06 | 0.987 |",
    ]


def test_missing_packages_are_reported_with_the_remedy(monkeypatch):
    monkeypatch.setitem(models.PACKAGES, "ncnn", ("no-such-package",))
    with pytest.raises(UserError, match=r"not installed: no-such-package; pip install .*\[bench\]"):
        models.versions(("ncnn",))
    assert models.versions(()) == {}


def test_unknown_runtimes_are_reported():
    assert choose("runtime", None, models.PACKAGES) == ("onnxruntime", "openvino", "ncnn")
    assert choose("runtime", [], models.PACKAGES) == ()
    with pytest.raises(UserError, match="there is no runtime 'tvm'"):
        choose("runtime", ["tvm"], models.PACKAGES)


@pytest.mark.slow
def test_litert_needs_no_other_package(tmp_path):
    (summaries,) = compare_all(config(tmp_path)).values()
    assert [(row["graph"], row["precision"]) for row in summaries] == [
        (graph, precision)
        for graph in ("deployment", "canonical")
        for precision in ("int8", "float32")
    ]
    assert all(row["ms"]["runs"] == 4 and row["ms"]["min"] > 0 for row in summaries)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", models.PACKAGES)
@pytest.mark.parametrize("name", TINY_NETWORKS)
def test_every_runtime_computes_the_same_as_keras(monkeypatch, tmp_path, runtime, name):
    for package in models.PACKAGES[runtime]:
        pytest.importorskip(package, reason="needs keras_shufflenet[bench]")
    # NNCF clips the largest activations, which changes ten logits of a tiny network more.
    monkeypatch.setattr(runtime_comparison, "INT8_BOUND", 0.85)
    (summaries,) = compare_all(config(tmp_path, name, (runtime,))).values()
    graphs = {row["graph"] for row in summaries if row["runtime"] == runtime}
    assert graphs == ({"canonical", "deployment"} if is_v2(build(name)) else {"canonical"})
