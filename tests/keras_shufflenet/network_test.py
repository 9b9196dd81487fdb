"""What the networks refuse, and the names of their weights, on which users' files depend."""

import hashlib

import keras
import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV1, ShuffleNetV2, features


@pytest.fixture(params=[ShuffleNetV1, ShuffleNetV2])
def network(request):
    return request.param


def test_missing_weights_are_named(network, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`weights`.*none\.keras"):
        network(weights=tmp_path / "none.keras")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": 3}, r"`weights` must be None .*'imagenet'.*\.npz.*weights=3"),
        ({"weights": "model.h5"}, r"`weights`.*'model.h5'"),
        ({"pooling": "mean"}, r"`pooling`.*pooling='mean'"),
        ({"classes": 0}, r"`classes`.*classes=0"),
        ({"padding": "valid"}, r"`padding`.*padding='valid'"),
        ({"convention": "caffe"}, r"`convention`.*convention='caffe'"),
        ({"preprocessing": "caffe"}, r"`preprocessing`.*preprocessing='caffe'"),
        (
            {"preprocessing": "torch", "input_shape": (32, 32, 1)},
            r"`preprocessing`='torch' is for 3 channels.*1",
        ),
        ({"input_shape": (31, 224, 3)}, r"`input_shape`.*at least 32.*\(31, 224, 3\)"),
        ({"input_shape": (224, 224)}, r"`input_shape`.*\(224, 224\)"),
        ({"input_shape": 224}, r"`input_shape`.*224"),
        ({"input_shape": (224.0, 224, 3)}, r"`input_shape`.*\(224.0, 224, 3\)"),
        ({"input_shape": (224, 224, 0)}, r"`input_shape\[2\]`.*0"),
        ({"input_shape": (224, 224, None)}, r"`input_shape\[2\]`.*None"),
        ({"input_tensor": np.zeros((1, 64, 64, 3))}, r"`input_tensor` must be a Keras tensor"),
        ({"input_tensor": keras.Input((64, 64))}, r"`input_tensor`.*\(64, 64\)"),
        (
            {"input_tensor": keras.Input((64, 64, 3)), "input_shape": (32, 32, 3)},
            r"`input_shape`.*\(64, 64, 3\).*\(32, 32, 3\)",
        ),
    ],
)
def test_wrong_arguments_are_named(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**arguments)


def test_channels_first_is_refused(network):
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels_last"):
            network()
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("other", [keras.Sequential([keras.layers.Input((8,))]), "model"])
def test_features_of_another_model_are_refused(other):
    with pytest.raises(ValueError, match="`model` must be a ShuffleNet of this package"):
        features(other)


def test_the_last_feature_map_is_what_the_network_computes_from(tmp_path):
    network = ShuffleNetV1(
        0.25, 4, input_shape=(32, 32, 3), include_top=False, units_per_stage=(1, 2, 2)
    )
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    found, expected = features(loaded)(x)[-1], network(x)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(expected)
    )


def digest(paths):
    return hashlib.sha256("\n".join(paths).encode()).hexdigest()[:16]


def test_weight_names_of_v1_are_stable():
    # Checkpoints and the deployment graph depend on them: a change here breaks users' files.
    model = ShuffleNetV1(1.0, 3, se=True, input_shape=(32, 32, 3))
    paths = [weight.path for weight in model.weights]
    bn = ["gamma", "beta", "moving_mean", "moving_variance"]

    assert paths[:16] == [
        "stem_conv/kernel",
        *[f"stem_bn/{name}" for name in bn],
        "stage2_unit1/compress/kernel",
        *[f"stage2_unit1/compress_bn/{name}" for name in bn],
        "stage2_unit1/depthwise/kernel",
        *[f"stage2_unit1/depthwise_bn/{name}" for name in bn],
        "stage2_unit1/expand/kernel",
    ]
    assert paths[20:24] == [
        "stage2_unit1/squeeze_excite/reduce/kernel",
        "stage2_unit1/squeeze_excite/reduce/bias",
        "stage2_unit1/squeeze_excite/expand/kernel",
        "stage2_unit1/squeeze_excite/expand/bias",
    ]
    assert paths[-2:] == ["predictions/kernel", "predictions/bias"]
    assert (len(paths), digest(paths)) == (311, "a7ec622f638d8dbf")


def test_weight_names_of_v2_are_stable():
    model = ShuffleNetV2(1.0, input_shape=(32, 32, 3))
    paths = [weight.path for weight in model.weights]
    bn = ["gamma", "beta", "moving_mean", "moving_variance"]

    assert paths[5:31] == [
        "stage2_unit1/shortcut_depthwise/kernel",
        *[f"stage2_unit1/shortcut_depthwise_bn/{name}" for name in bn],
        "stage2_unit1/shortcut_pointwise/kernel",
        *[f"stage2_unit1/shortcut_pointwise_bn/{name}" for name in bn],
        "stage2_unit1/pointwise1/kernel",
        *[f"stage2_unit1/pointwise1_bn/{name}" for name in bn],
        "stage2_unit1/depthwise/kernel",
        *[f"stage2_unit1/depthwise_bn/{name}" for name in bn],
        "stage2_unit1/pointwise2/kernel",
        *[f"stage2_unit1/pointwise2_bn/{name}" for name in bn],
        "stage2_unit2/pointwise1/kernel",
    ]
    assert paths[-7:] == [
        "head_conv/kernel",
        *[f"head_bn/{name}" for name in bn],
        "predictions/kernel",
        "predictions/bias",
    ]
    assert (len(paths), digest(paths)) == (282, "fb5e34fa2059caf8")
