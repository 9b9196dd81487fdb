import shutil

import keras
import numpy as np
import pytest

from common.cli import UserError
from keras_shufflenet import ShuffleNetV1
from trainers.data import wordnet
from trainers.data.class_names import write_labels
from trainers.networks.models import build_model
from trainers.networks.starting_weights import load_starting_weights
from trainers.recipes import make_config

NAMES = [f"class {number}" for number in range(10)]
NETWORK = {"scale": 0.5, "small_images": True, "input_size": 32, "resize_size": 32}


def config_of(weights, **values):
    return make_config("cifar10", "w", {**NETWORK, "weights": str(weights), **values})


def build(config, channels=3, classes=10):
    precision = config.optimization.precision
    return build_model(config.network, config.images, channels, classes, precision)


def load(model, config, names=None):
    names = names or NAMES[: model.output_shape[-1]]
    load_starting_weights(model, config.network, config.images, names)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(a network of 10 classes, the folder of its files)."""
    folder = tmp_path_factory.mktemp("trained")
    model = build(config_of("w"))
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    config_of("w").save(folder)
    write_labels(folder, NAMES)
    return model, folder


def assert_taken(model, trained, classifier=True):
    pairs = {weight.path: weight.numpy() for weight in trained.weights}
    for weight in model.weights:
        expected = pairs[weight.path]
        if classifier or not weight.path.startswith("predictions/"):
            np.testing.assert_array_equal(weight, expected, weight.path)
        elif weight.name == "bias":
            np.testing.assert_array_equal(weight, np.zeros(weight.shape))
        else:
            # Random initial values; those of the trained network are up to 4.
            assert 0 < np.abs(weight).max() < 0.2


@pytest.mark.parametrize(
    ("name", "classes"), [("", 10), ("model.keras", 3), ("model.weights.h5", 3)]
)
def test_all_weights_are_loaded_except_the_classifier_of_other_classes(trained, name, classes):
    config = config_of(trained[1] / name)
    model = build(config, classes=classes)
    load(model, config)
    assert_taken(model, trained[0], classifier=classes == 10)


def test_other_classes_of_the_same_number_get_a_new_classifier(trained, capsys):
    config = config_of(trained[1])
    model = build(config)
    load(model, config, ["zebra", *NAMES[1:]])
    assert_taken(model, trained[0], classifier=False)
    said = capsys.readouterr().out
    assert said == (
        f"--weights {trained[1]}: the classifier starts from random weights, because the data has "
        "other classes: 'class 0' is missing, 'zebra' is new\n"
    )
    model = build(config)
    load(model, config, NAMES[::-1])
    assert_taken(model, trained[0], classifier=False)
    assert "another order: number 1 is 'class 9', not 'class 0'" in capsys.readouterr().out
    load(model, config)
    assert_taken(model, trained[0])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_without_class_names_the_classifier_is_new(trained, name, tmp_path, capsys):
    shutil.copy(trained[1] / name, tmp_path)
    config = config_of(tmp_path / name)
    model = build(config)
    load(model, config)
    assert_taken(model, trained[0], classifier=False)
    assert "because no labels.txt beside it says which classes" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", "model.weights.h5"])
def test_weights_of_another_stem_are_refused(trained, name):
    # The shapes are the same, but every feature map would be a quarter of the size.
    config = config_of(trained[1] / name, small_images=False, input_size=64, resize_size=64)
    with pytest.raises(UserError, match=r"trained with --small_images \(a stem of stride 1\), not"):
        load(build(config), config)


def test_weights_without_shuffles_are_refused(tmp_path):
    values = {"model": "shufflenet_v1", "small_images": True}
    ShuffleNetV1(0.5, input_shape=(32, 32, 3), classes=10, small_images=True, shuffle=False).save(
        tmp_path / "model.keras"
    )
    config = config_of(tmp_path / "model.keras", **values)
    with pytest.raises(UserError, match="was trained without channel shuffles"):
        load(build(config), config)


def test_other_values_are_passed_to_the_network(trained, monkeypatch):
    asked = []

    def give(network, images, channels, classes, weights):
        asked.append((channels, classes, weights))
        return trained[0]

    config = config_of("imagenet")
    model = build(config)
    monkeypatch.setattr("trainers.networks.starting_weights.build_model", give)
    load(model, config)
    assert asked == [(3, 10, "imagenet")]
    assert_taken(model, trained[0], classifier=False)
    # As if ImageNet had these ten classes.
    monkeypatch.setattr(wordnet, "words", lambda: tuple(NAMES))
    load(model, config)
    assert_taken(model, trained[0])


@pytest.mark.parametrize(
    ("name", "values", "channels"),
    [
        ("model.keras", {"scale": 1.0}, 3),
        ("model.keras", {}, 1),
        ("model.weights.h5", {"model": "shufflenet_v1"}, 3),
    ],
)
def test_weights_of_another_network_are_refused(trained, name, values, channels):
    config = config_of(trained[1] / name, **values)
    model = build(config, channels)
    with pytest.raises(
        UserError, match=r"--weights .*(is from another network: |cannot be loaded)"
    ):
        load(model, config)


@pytest.mark.parametrize("name", ["gone.keras", "gone.weights.h5", "gone.nonsense"])
def test_missing_weights_are_refused(trained, name):
    config = config_of(trained[1] / name)
    with pytest.raises(UserError, match=r"gone\."):
        load(build(config), config)


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_damaged_files_are_refused(trained, tmp_path, name):
    data = (trained[1] / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    config = config_of(tmp_path / name)
    with pytest.raises(UserError, match=name):
        load(build(config), config)


def test_mixed_precision_loads_the_same_weights(trained):
    config = config_of(trained[1], precision="mixed_bfloat16")
    model = build(config)
    load(model, config)
    assert_taken(model, trained[0])
    assert model.compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(("name", "value"), [("padding", "symmetric"), ("convention", "megvii")])
def test_weights_trained_in_another_setting_are_refused(trained, name, value):
    # The shapes are the same, but the results would differ.
    config = config_of(trained[1] / "model.keras", **{name: value})
    model = build(config)
    with pytest.raises(UserError, match=rf"was trained with --{name}=(same|paper), not {value}"):
        load(model, config)
