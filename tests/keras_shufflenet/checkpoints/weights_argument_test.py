import json
import zipfile

import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV1, ShuffleNetV2, preprocessing_of
from keras_shufflenet.checkpoints.weights_argument import find_weights

SMALL = {"input_shape": (32, 32, 3), "classes": 3, "units_per_stage": (1, 2, 1)}


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


@pytest.fixture(scope="module")
def other_networks():
    return {
        "grey images": ShuffleNetV2(0.5, **{**SMALL, "input_shape": (32, 32, 1)}),
        "other widths": ShuffleNetV2(1.0, **SMALL),
        "no classifier": ShuffleNetV2(0.5, include_top=False, **SMALL),
        "more units": ShuffleNetV2(0.5, **{**SMALL, "units_per_stage": (1, 3, 1)}),
        "other kind": ShuffleNetV1(0.5, **SMALL),
    }


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_of_another_network_are_refused(suffix, other_networks, tmp_path):
    for name, model in other_networks.items():
        path = tmp_path / f"other{suffix}"
        (model.save if suffix == ".keras" else model.save_weights)(path)
        with pytest.raises(ValueError, match=f"`weights` file .*other.*{suffix}") as caught:
            ShuffleNetV2(0.5, weights=path, **SMALL)
        assert "another network" in str(caught.value), name
        assert "damaged" not in str(caught.value) or name in ("more units", "other kind"), name
        assert "\n" not in str(caught.value), name


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_other_shapes_are_named(suffix, other_networks, tmp_path):
    path = tmp_path / f"grey{suffix}"
    model = other_networks["grey images"]
    (model.save if suffix == ".keras" else model.save_weights)(path)
    shapes = (
        r"stem_conv/kernel has the shape \(3, 3, 1, 24\) there, but \(3, 3, 3, 24\) here; build"
    )
    for classes in (3, 4):
        with pytest.raises(ValueError, match=rf"grey{suffix}' is of another network: {shapes}"):
            ShuffleNetV2(0.5, weights=path, **{**SMALL, "classes": classes})


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("network", [ShuffleNetV1, ShuffleNetV2])
def test_other_classes_get_a_new_classifier(network, suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    model = network(0.5, **SMALL)
    model.get_layer("predictions").bias.assign([1, 2, 3])
    (model.save if suffix == ".keras" else model.save_weights)(path)
    again = network(0.5, weights=path, **{**SMALL, "classes": 4})
    for weight, expected in zip(again.weights[:-2], model.weights[:-2], strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy(), err_msg=weight.path)
    kernel, bias = again.get_layer("predictions").weights
    assert kernel.shape == (model.get_layer("predictions").kernel.shape[0], 4)
    assert np.abs(kernel).max() > 0 and np.abs(bias).max() == 0


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("small_images", [False, True])
def test_weights_of_another_stem_are_refused(small_images, suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    model = ShuffleNetV2(0.5, small_images=small_images, **SMALL)
    (model.save if suffix == ".keras" else model.save_weights)(path)
    with pytest.raises(
        ValueError, match=rf"`small_images` must be {small_images} with .*model{suffix}"
    ):
        ShuffleNetV2(0.5, weights=path, small_images=not small_images, **SMALL)
    ShuffleNetV2(0.5, weights=path, small_images=small_images, **SMALL)


def test_weights_without_shuffles_are_refused(tmp_path):
    path = tmp_path / "model.keras"
    ShuffleNetV1(0.5, shuffle=False, **SMALL).save(path)
    with pytest.raises(ValueError, match=r"`shuffle` must be False with .*Received: shuffle=True"):
        ShuffleNetV1(0.5, weights=path, **SMALL)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_damaged_weights_are_refused(suffix, kept, tmp_path):
    path = tmp_path / f"damaged{suffix}"
    model = ShuffleNetV2(0.5, **SMALL)
    (model.save if suffix == ".keras" else model.save_weights)(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])

    with pytest.raises(ValueError, match=r"`weights` file .*damaged") as caught:
        ShuffleNetV2(0.5, weights=path, **SMALL)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no weights\n" * 100], ids=["empty", "text"])
def test_what_is_no_weights_file_is_refused(content, tmp_path):
    for name in ("a.keras", "a.weights.h5"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"`weights` file .*{name}.*damaged"):
            ShuffleNetV2(0.5, weights=path, **SMALL)
