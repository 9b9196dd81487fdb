"""What both networks do alike: inputs, outputs, training, stored weights."""

import hashlib

import keras
import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV1, ShuffleNetV2

# Both kinds of unit in every stage but one; the full depth is for the tests of the variants.
UNITS = (1, 2, 2)
NETWORKS = {
    "v1": lambda **k: ShuffleNetV1(0.25, 4, units_per_stage=UNITS, **k),
    "v1_se": lambda **k: ShuffleNetV1(0.25, 8, units_per_stage=UNITS, se=True, **k),
    "v2": lambda **k: ShuffleNetV2(0.5, units_per_stage=UNITS, **k),
}


@pytest.fixture(params=list(NETWORKS))
def network(request):
    return NETWORKS[request.param]


def random_images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def as_array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def randomize_statistics(model):
    """Moves BatchNormalization off its start, where a forgotten statistic would not show."""
    generator = np.random.default_rng(1)
    for weight in model.weights:
        if weight.name in ("beta", "moving_mean"):
            weight.assign(generator.normal(0, 0.1, weight.shape))
        elif weight.name in ("gamma", "moving_variance"):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("input_shape", [(32, 32, 1), (33, 47, 3), (64, 35, 5)])
def test_any_size_channels_and_batch(network, input_shape, padding):
    model = network(input_shape=input_shape, padding=padding, classes=7)
    for batch in (1, 3):
        y = as_array(model(random_images(batch, *input_shape)))
        assert y.shape == (batch, 7)
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_paddings_give_equal_sizes(network, padding):
    for size in (32, 33, 47, 63, 64):
        model = network(input_shape=(size, size, 3), padding=padding, include_top=False)
        assert model.output_shape[1:3] == (-(-size // 32),) * 2


def test_unknown_size(network):
    model = network(input_shape=(None, None, 3), classes=4)
    fixed = network(input_shape=(40, 33, 3), classes=4)
    fixed.set_weights(model.get_weights())
    x = random_images(2, 40, 33, 3)

    np.testing.assert_allclose(model.predict(x, verbose=0), as_array(fixed(x)), atol=1e-6)


def test_small_images(network):
    model = network(small_images=True, include_top=False)

    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape[1:3] == (4, 4)
    assert model.get_layer("stem_conv").strides == (1, 1)
    assert "stem_pool" not in [layer.name for layer in model.layers]
    symmetric = network(small_images=True, include_top=False, padding="symmetric")
    assert symmetric.output_shape == model.output_shape
    assert [layer.name for layer in symmetric.layers[1:]] == [
        layer.name for layer in model.layers[1:]
    ]


def test_without_a_classifier(network):
    x = random_images(2, 64, 40, 3)
    features = network(input_shape=(64, 40, 3), include_top=False)
    pooled = {}
    for pooling in ("avg", "max"):
        model = network(input_shape=(64, 40, 3), include_top=False, pooling=pooling)
        model.set_weights(features.get_weights())
        pooled[pooling] = as_array(model(x))
    y = as_array(features(x))

    assert y.shape[:3] == (2, 2, 2)
    np.testing.assert_allclose(pooled["avg"], y.mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(pooled["max"], y.max(axis=(1, 2)), atol=1e-6)


def test_logits_and_probabilities(network):
    x = random_images(2, 32, 32, 3)
    logits = network(input_shape=(32, 32, 3), classes=5, classifier_activation=None)
    probabilities = network(input_shape=(32, 32, 3), classes=5)
    probabilities.set_weights(logits.get_weights())

    expected = as_array(keras.ops.softmax(logits(x)))
    np.testing.assert_allclose(as_array(probabilities(x)), expected, atol=1e-6)


def test_on_top_of_a_tensor(network):
    inputs = keras.Input((64, 64, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    model = network(input_tensor=x, classes=3)
    plain = network(input_shape=(64, 64, 3), classes=3)
    plain.set_weights(model.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)

    assert model.inputs[0] is inputs
    np.testing.assert_allclose(
        as_array(model(images)), as_array(plain(images.astype("float32") / 127.5 - 1)), atol=1e-6
    )


def test_no_warning_when_called(network, recwarn):
    network(input_shape=(32, 32, 3))(random_images(1, 32, 32, 3))

    assert not [w for w in recwarn if "structure of `inputs`" in str(w.message)]


def test_one_training_step_moves_every_weight(network):
    model = network(input_shape=(64, 64, 3), classes=3)
    before = [as_array(weight).copy() for weight in model.weights]
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    model.train_on_batch(random_images(8, 64, 64, 3), np.arange(8) % 3)

    still = [
        weight.path
        for weight, old in zip(model.weights, before, strict=True)
        if np.array_equal(as_array(weight), old)
    ]
    assert not still
    assert all(np.isfinite(as_array(weight)).all() for weight in model.weights)


def test_save_and_load_give_the_same_output(network, tmp_path):
    model = network(input_shape=(33, 47, 3), classes=3, padding="symmetric")
    randomize_statistics(model)
    x = random_images(2, 33, 47, 3)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(as_array(again(x)), as_array(model(x)))
    assert [weight.path for weight in again.weights] == [weight.path for weight in model.weights]


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_from_a_file(network, suffix, tmp_path):
    path = tmp_path / f"trained{suffix}"
    model = network(input_shape=(32, 32, 3), classes=3)
    randomize_statistics(model)
    model.compile("adam", "mse")  # the optimizer's arrays are in a .keras file too
    (model.save if suffix == ".keras" else model.save_weights)(path)
    # Weights do not depend on the size.
    again = network(input_shape=(40, 40, 3), classes=3, weights=path)
    features = network(input_shape=(32, 32, 3), include_top=False, weights=str(path))

    for weight, loaded in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(as_array(loaded), as_array(weight), err_msg=weight.path)
    for weight, loaded in zip(model.weights[:-2], features.weights, strict=True):
        np.testing.assert_array_equal(as_array(loaded), as_array(weight), err_msg=weight.path)


@pytest.fixture(scope="module")
def other_networks():
    return {
        "other classes": ShuffleNetV2(0.5, classes=4, input_shape=(32, 32, 3)),
        "other widths": ShuffleNetV2(1.0, classes=3, input_shape=(32, 32, 3)),
        "no classifier": ShuffleNetV2(0.5, include_top=False, input_shape=(32, 32, 3)),
        "more units": ShuffleNetV2(
            0.5, classes=3, units_per_stage=(4, 9, 4), input_shape=(32, 32, 3)
        ),
        "other kind": ShuffleNetV1(0.5, classes=3, input_shape=(32, 32, 3)),
    }


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_of_another_network_are_refused(suffix, other_networks, tmp_path):
    for name, model in other_networks.items():
        path = tmp_path / f"other{suffix}"
        (model.save if suffix == ".keras" else model.save_weights)(path)
        with pytest.raises(ValueError, match=f"`weights` file .*other.*{suffix}") as caught:
            ShuffleNetV2(0.5, classes=3, input_shape=(32, 32, 3), weights=path)
        assert "another network" in str(caught.value), name
        assert "\n" not in str(caught.value), name


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_damaged_weights_are_refused(suffix, kept, tmp_path):
    path = tmp_path / f"damaged{suffix}"
    model = ShuffleNetV2(0.5, classes=3, input_shape=(32, 32, 3))
    (model.save if suffix == ".keras" else model.save_weights)(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])

    with pytest.raises(ValueError, match=r"`weights` file .*damaged") as caught:
        ShuffleNetV2(0.5, classes=3, input_shape=(32, 32, 3), weights=path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no weights\n" * 100], ids=["empty", "text"])
def test_what_is_no_weights_file_is_refused(content, tmp_path):
    for name in ("a.keras", "a.weights.h5"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"`weights` file .*{name}.*damaged"):
            ShuffleNetV2(0.5, weights=path)


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
