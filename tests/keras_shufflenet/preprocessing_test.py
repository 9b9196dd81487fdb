import keras
import numpy as np
import pytest

from keras_shufflenet import (
    ShuffleNetV1,
    ShuffleNetV2,
    decode_predictions,
    preprocess_input,
    preprocessing_of,
)
from keras_shufflenet.preprocessing import PREPROCESSING


def pixels():
    return np.random.default_rng(0).integers(0, 256, size=(2, 5, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["tf", "torch"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
def test_equal_to_keras_applications(mode, dtype):
    x = pixels().astype(dtype)
    expected = keras.applications.imagenet_utils.preprocess_input(
        x.astype("float32"), data_format="channels_last", mode=mode
    )
    y = preprocess_input(x, mode=mode)

    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, atol=2e-6)


def test_the_array_is_not_changed():
    x = pixels().astype("float32")
    before = x.copy()
    preprocess_input(x)

    np.testing.assert_array_equal(x, before)


def test_ends_of_the_range_are_exact():
    y = preprocess_input(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1))

    assert y.ravel().tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("mode", ["tf", "torch"])
def test_tensors_and_symbolic_tensors(mode):
    x = pixels()
    y = preprocess_input(keras.ops.convert_to_tensor(x), mode=mode)
    inputs = keras.Input((5, 4, 3), dtype="uint8")
    model = keras.Model(inputs, preprocess_input(inputs, mode=mode))

    expected = preprocess_input(x, mode=mode)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)


def test_table_is_what_the_function_does():
    x = pixels()
    for mode, preprocessing in PREPROCESSING.items():
        expected = x * np.array(preprocessing.scale) + np.array(preprocessing.offset)
        np.testing.assert_allclose(preprocess_input(x, mode=mode), expected, atol=1e-6)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"`mode`.*mode='caffe'"):
        preprocess_input(pixels(), mode="caffe")
    with pytest.raises(ValueError, match=r"`data_format`.*'channels_first'"):
        preprocess_input(pixels(), data_format="channels_first")
    with pytest.raises(ValueError, match=r"3 channels in mode 'torch'.*\(1, 2, 2, 1\)"):
        preprocess_input(np.zeros((1, 2, 2, 1)), mode="torch")


def test_decoded_predictions_are_sorted():
    preds = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]])
    best = decode_predictions(preds, top=2, class_names=["ant", "bee", "cat"])

    assert best == [[(1, "bee", 0.7), (2, "cat", 0.2)], [(0, "ant", 0.5), (1, "bee", 0.25)]]


def test_fewer_classes_than_top():
    assert len(decode_predictions(np.ones((1, 2)), class_names=["a", "b"])[0]) == 2


def test_imagenet_names_are_keras_own(monkeypatch):
    index = {str(i): [f"n{i}", f"name{i}"] for i in range(1000)}
    monkeypatch.setattr("keras.src.applications.imagenet_utils.CLASS_INDEX", index)
    preds = np.zeros((1, 1000))
    preds[0, 7] = 1

    assert decode_predictions(preds, top=1) == [[("n7", "name7", 1.0)]]


@pytest.mark.parametrize("shape", [(3,), (1, 4), (1, 1, 3)])
def test_wrong_predictions_are_named(shape):
    with pytest.raises(ValueError, match=r"`preds`.*\(batch, 3\)"):
        decode_predictions(np.zeros(shape), class_names=["a", "b", "c"])


def test_the_names_of_other_classes_than_imagenet_s_are_asked_for():
    with pytest.raises(ValueError, match=r"1000\).*ImageNet; name other classes with `class_na"):
        decode_predictions(np.zeros((2, 10)))


def test_raw_pixels_stay_as_they_are():
    x = pixels()
    np.testing.assert_array_equal(preprocess_input(x, mode="raw"), x.astype("float32"))


TINY = {"input_shape": (32, 32, 3), "classes": 2, "units_per_stage": (1, 1, 1)}


@pytest.mark.parametrize("make", [ShuffleNetV1, ShuffleNetV2])
def test_a_network_knows_its_preprocessing(make, tmp_path):
    model = make(0.5, preprocessing="torch", **TINY)
    plain = make(0.5, **TINY)
    for path in (tmp_path / "a.keras", tmp_path / "b.keras"):
        (model if path.stem == "a" else plain).save(path)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = make(0.5, preprocessing="raw", **TINY)
    finally:
        keras.config.set_dtype_policy(policy)
    nested = keras.Sequential([keras.Input((32, 32, 3)), model, keras.layers.Dense(2)])

    assert preprocessing_of(model) == "torch"
    assert preprocessing_of(plain) is None
    assert preprocessing_of(keras.saving.load_model(tmp_path / "a.keras")) == "torch"
    assert preprocessing_of(keras.saving.load_model(tmp_path / "b.keras")) is None
    assert preprocessing_of(keras.models.clone_model(model)) == "torch"
    assert preprocessing_of(mixed) == "raw"
    assert preprocessing_of(nested) == "torch"
    features = keras.Model(model.inputs, model.get_layer("stage3_unit1").output)
    assert preprocessing_of(features) == "torch"


def test_weights_files_do_not_depend_on_the_preprocessing(tmp_path):
    known = ShuffleNetV2(0.5, preprocessing="torch", **TINY)
    known.save_weights(tmp_path / "a.weights.h5")
    plain = ShuffleNetV2(0.5, weights=tmp_path / "a.weights.h5", **TINY)
    for weight, expected in zip(plain.weights, known.weights, strict=True):
        assert weight.path == expected.path
        np.testing.assert_array_equal(weight.numpy(), expected.numpy(), err_msg=weight.path)


def test_networks_of_two_preprocessings_are_named():
    inputs = keras.Input((32, 32, 3))
    one = ShuffleNetV2(0.5, preprocessing="torch", name="one", **TINY)
    two = ShuffleNetV2(0.5, preprocessing="raw", name="two", **TINY)
    both = keras.Model(inputs, keras.layers.Add()([one(inputs), two(inputs)]))
    with pytest.raises(ValueError, match=r"several preprocessings: \['raw', 'torch'\]"):
        preprocessing_of(both)
