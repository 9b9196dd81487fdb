import json
import zipfile

import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV1, ShuffleNetV2, preprocessing_of
from keras_shufflenet.checkpoints.weights_argument import find_weights

SMALL = {"input_shape": (32, 32, 3), "classes": 2}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A `.keras` file as an import leaves it."""
    path = tmp_path_factory.mktemp("imported") / "model.keras"
    settings = {"padding": "symmetric", "convention": "megvii", "preprocessing": "raw"}
    ShuffleNetV2(0.5, **settings, **SMALL).save(path)
    return path


def test_a_keras_file_brings_its_settings(imported):
    model = ShuffleNetV2(0.5, weights=imported, **SMALL)
    unit = model.get_layer("stage3_unit1")

    assert (unit.padding, unit.convention) == ("symmetric", "megvii")
    assert preprocessing_of(model) == "raw"


@pytest.mark.parametrize(
    ("name", "value"), [("padding", "same"), ("convention", "paper"), ("preprocessing", "tf")]
)
def test_a_keras_file_of_other_settings_is_refused(imported, name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be .*model\.keras.*{name}='{value}'"):
        ShuffleNetV2(0.5, weights=imported, **{name: value}, **SMALL)


def test_a_file_from_before_the_settings(tmp_path):
    # What such a file lacks: the units' convention, and a stem that knows its preprocessing.
    model = ShuffleNetV2(0.5, padding="symmetric", **SMALL)
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as archive:
        config = json.loads(archive.read("config.json"))
        for layer in config["config"]["layers"]:
            layer["config"].pop("convention", None)
        with zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
            for name in archive.namelist():
                text = json.dumps(config) if name == "config.json" else archive.read(name)
                old.writestr(name, text)
    again = ShuffleNetV2(0.5, weights=tmp_path / "old.keras", **SMALL)

    assert again.get_layer("stage3_unit1").padding == "symmetric"
    assert preprocessing_of(again) is None
    for weight, expected in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy(), err_msg=weight.path)


def test_without_weights_the_defaults_hold():
    settings = find_weights(None, "shufflenet_v2", 1.0, ShuffleNetV2).settle(
        padding=None, convention=None, preprocessing=None
    )
    assert settings == ("same", "paper", None)


def test_there_is_no_download_of_v1():
    with pytest.raises(ValueError, match=r"'imagenet' is for ShuffleNetV2.*Megvii"):
        ShuffleNetV1(0.5, weights="imagenet")
