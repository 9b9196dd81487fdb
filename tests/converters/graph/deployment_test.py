from collections import Counter

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.cli import UserError
from converters.graph.deployment import deployment_graph
from converters.graph.emitter import emit
from converters.graph.targets import LOWERINGS, Lowering
from converters.random_weights import randomize_batch_norms
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2

# A share of the logits' standard deviation.
BOUND = 1e-4


def randomize(model, seed):
    randomize_batch_norms(model, seed)
    return model


def relative_error(model, graph, seed):
    images = np.random.default_rng(seed).normal(size=(2, *graph.ops["image"].shape))
    images = images.astype(np.float32)
    expected, found = np.asarray(model(images)), np.asarray(emit(graph)(images))
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / expected.std()


# Arguments of both versions; small, because building a network takes seconds.
COMMON = {
    "padding": st.sampled_from(["same", "symmetric"]),
    "small_images": st.booleans(),
    "input_shape": st.sampled_from([(32, 32, 3), (37, 45, 1), (64, 48, 3)]),
    "classes": st.integers(2, 12),
    "classifier_activation": st.sampled_from([None, "softmax"]),
}
V2 = st.fixed_dictionaries(
    {
        **COMMON,
        "scale": st.sampled_from([0.5, 1.0, 1.5, 2.0]),
        "units_per_stage": st.sampled_from([(1, 2, 1), (4, 8, 4), (2, 11, 3)]),
        "stage_channels": st.sampled_from([None, (10, 22, 46)]),
    }
)
V1 = st.fixed_dictionaries(
    {
        **COMMON,
        "scale": st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0]),
        "groups": st.sampled_from([1, 2, 3, 4, 8]),
        "units_per_stage": st.sampled_from([(2, 4, 2), (4, 8, 4)]),
        "shuffle": st.booleans(),
        "se": st.booleans(),
    }
)
FEW = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
MANY = settings(FEW, max_examples=60)


def check_v2(arguments, target, seed):
    model = randomize(ShuffleNetV2(**arguments), seed)
    graph = deployment_graph(model, target)
    kinds = Counter(op.kind for op in graph.ops.values())
    assert kinds["transpose"] == 0
    assert relative_error(model, graph, seed) <= BOUND


def check_v1(arguments, target, seed):
    model = randomize(ShuffleNetV1(**arguments), seed)
    assert relative_error(model, deployment_graph(model, target), seed) <= BOUND


SEEDS = st.integers(0, 1000)
TARGETS = st.sampled_from(sorted(LOWERINGS))


@pytest.mark.medium
@FEW
@given(V2, TARGETS, SEEDS)
def test_v2_is_equal(arguments, target, seed):
    check_v2(arguments, target, seed)


@pytest.mark.medium
@FEW
@given(V1, TARGETS, SEEDS)
def test_v1_is_equal(arguments, target, seed):
    check_v1(arguments, target, seed)


@pytest.mark.slow
@MANY
@given(V2, TARGETS, SEEDS)
def test_v2_is_equal_over_many_variants(arguments, target, seed):
    check_v2(arguments, target, seed)


@pytest.mark.slow
@MANY
@given(V1, TARGETS, SEEDS)
def test_v1_is_equal_over_many_variants(arguments, target, seed):
    check_v1(arguments, target, seed)


SMALL = {"input_shape": (32, 32, 3), "small_images": True, "classes": 5}


@pytest.mark.medium
@pytest.mark.parametrize("shuffle", ["transpose", "dense_compress", "dense_expand"])
@pytest.mark.parametrize("groups", [3, 8])
def test_every_lowering_of_the_v1_shuffle_is_equal(shuffle, groups):
    arguments = {**SMALL, "classifier_activation": None, "units_per_stage": (2, 2, 1)}
    model = randomize(ShuffleNetV1(0.5, groups, **arguments), 0)
    lowering = Lowering(4, 1, "group", shuffle=dict.fromkeys([groups], shuffle))
    graph = deployment_graph(model, lowering=lowering)
    kinds = Counter(op.kind for op in graph.ops.values())
    # The first unit's first convolution has one group and absorbs its shuffle in any case.
    assert kinds["transpose"] == (4 if shuffle == "transpose" else 0)
    assert relative_error(model, graph, 0) <= BOUND


@pytest.mark.medium
@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize(
    ("average_pool", "kinds"),
    [
        ("pool", {"average_pool": 3}),
        ("depthwise", {"window_average": 3, "edge_factor": 3}),
    ],
)
def test_both_lowerings_of_the_v1_average_pool_are_equal(average_pool, kinds, padding):
    # The average pools have sides of 9, 5 and 3, and of 12, 6 and 3.
    arguments = {"input_shape": (33, 45, 3), "units_per_stage": (1, 2, 1), "padding": padding}
    model = randomize(ShuffleNetV1(0.5, 3, classes=5, classifier_activation=None, **arguments), 0)
    graph = deployment_graph(model, lowering=Lowering(4, 1, "group", average_pool=average_pool))
    found = Counter(op.kind for op in graph.ops.values())
    if padding == "symmetric":
        # The padding's zeros count in the average, so there is nothing to correct.
        kinds = {**kinds, "edge_factor": 0}
    assert {kind: found[kind] for kind in kinds} == kinds
    assert relative_error(model, graph, 0) <= BOUND


@pytest.mark.medium
@pytest.mark.parametrize("pooling", [None, "avg", "max"])
@pytest.mark.parametrize("network", [ShuffleNetV1, ShuffleNetV2])
def test_features_keep_their_trained_order(network, pooling):
    arguments = {"input_shape": (64, 64, 3), "units_per_stage": (1, 2, 2), "scale": 0.5}
    model = randomize(network(include_top=False, pooling=pooling, **arguments), 0)
    assert relative_error(model, deployment_graph(model), 0) <= BOUND


def test_concatenations_keep_the_targets_limit():
    graph = deployment_graph(ShuffleNetV2(0.5, **SMALL), "cpu")
    most = max(len(op.inputs) for op in graph.ops.values() if op.kind == "concat")
    assert most <= LOWERINGS["cpu"].most_concatenated


def test_an_open_size_must_be_given():
    model = ShuffleNetV2(0.5, input_shape=(None, None, 3), units_per_stage=(1, 1, 1))
    with pytest.raises(UserError, match="size"):
        deployment_graph(model)
    assert deployment_graph(model, size=64).ops["image"].shape == (64, 64, 3)


def edited(model, change):
    config = model.get_config()
    change({layer["name"]: layer for layer in config["layers"]})
    copy = keras.Model.from_config(config)
    for layer in copy.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    return copy


def other_activation(layers):
    layers["head_relu"]["config"]["max_value"] = 6.0


def bypass_the_second_unit(layers):
    layers["stage2_unit3"]["inbound_nodes"] = layers["stage2_unit2"]["inbound_nodes"]


@pytest.mark.medium
@pytest.mark.parametrize("change", [other_activation, bypass_the_second_unit])
def test_an_edited_network_is_equal(change):
    model = edited(randomize(ShuffleNetV2(0.5, **SMALL), 0), change)
    assert relative_error(model, deployment_graph(model), 0) <= BOUND


@pytest.mark.medium
@pytest.mark.parametrize("convention", ["paper", "megvii"])
@pytest.mark.parametrize("target", ["cpu", "edgetpu"])
def test_a_stage_whose_middle_something_else_takes_is_equal(convention, target):
    arguments = {**SMALL, "convention": convention, "units_per_stage": (3, 2, 1)}
    base = randomize(ShuffleNetV2(0.5, **arguments), 0)
    outputs = [base.get_layer(name).output for name in ("stage2_unit2", "stage3_unit2")]
    model = keras.Model(base.input, [*outputs, base.output])
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    found = emit(deployment_graph(model, target))(images)
    for mine, theirs in zip(found, model(images), strict=True):
        assert np.abs(mine - np.asarray(theirs)).max() <= BOUND * np.asarray(theirs).std()


def test_a_model_that_was_saved_and_loaded_is_equal(tmp_path):
    model = randomize(ShuffleNetV1(0.25, 4, se=True, **SMALL), 0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert relative_error(model, deployment_graph(loaded), 0) <= BOUND
