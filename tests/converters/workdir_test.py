"""What conversion reads from a workdir, which may be made by hand, fits together."""

import keras
import numpy as np
import pytest

from common.cli import UserError
from converters.workdir import calibration_inputs, load_trained, split_images
from keras_shufflenet import preprocessing_of
from trainers.config import TrainConfig
from trainers.networks.models import build_model, load_model, save_model
from trainers.recipes import make_config


def make_workdir(folder, preprocessing, of_model):
    """A workdir whose config.json and model may disagree."""
    folder.mkdir()
    values = {"input_size": 32, "crop_share": 1.0, "model": "shufflenet_v2", "scale": 0.5}
    config = make_config("cifar10", str(folder), {**values, "preprocessing": preprocessing})
    config.save(folder)
    (folder / "labels.txt").write_text("cat\ndog\n", encoding="utf-8")
    built = make_config("cifar10", str(folder), {**values, "preprocessing": of_model})
    save_model(build_model(built.network, built.images, 3, 2), folder / "model.keras")
    return folder


@pytest.mark.parametrize("preprocessing", ["tf", "torch", "raw"])
def test_a_trained_model_knows_its_preprocessing(preprocessing, tmp_path):
    trained = load_trained(make_workdir(tmp_path / "work", preprocessing, preprocessing))
    assert preprocessing_of(trained.model) == trained.config.images.preprocessing == preprocessing


def test_a_model_of_another_preprocessing_is_rejected(tmp_path):
    folder = make_workdir(tmp_path / "work", "tf", "raw")
    with pytest.raises(UserError, match=r"model\.keras is for pixels of preprocessing 'raw'.*'tf'"):
        load_trained(folder)


def test_moved_data_is_looked_for_where_it_is(tmp_path):
    folder = make_workdir(tmp_path / "work", "tf", "tf")
    trained = load_trained(folder, data_dir="/moved")
    assert trained.config.data.data_dir == "/moved"
    assert TrainConfig.load(folder).data.data_dir is None


COMMANDS = (
    *("trainers.train", "trainers.evaluate", "converters.convert"),
    *("converters.quantize", "converters.agreement", "converters.layer_error"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_reads_data_can_be_told_where_it_is(command, run_cli):
    assert "--data_dir" in run_cli(command, "--help", check=False).stdout


@pytest.fixture
def photos_workdir(digits_folder, tmp_path):
    """A workdir of the classes one, two and zero, with random weights."""
    values = {"data_dir": str(digits_folder), "scale": 0.5, "input_size": 32, "resize_size": 32}
    config = make_config("folder", str(tmp_path), {**values, "small_images": True})
    config.save(tmp_path)
    (tmp_path / "labels.txt").write_text("one\ntwo\nzero\n")
    save_model(build_model(config.network, config.images, 3, 3), tmp_path / "model.keras")
    return tmp_path


def test_images_come_with_the_classes_of_the_model(photos_workdir):
    trained = load_trained(photos_workdir)
    images, classes = split_images(trained, "test", 5)
    assert (images.shape, images.dtype, classes.shape) == ((5, 32, 32, 3), np.uint8, (5,))
    (photos_workdir / "labels.txt").write_text("two\none\nzero\n")
    trained = load_trained(photos_workdir)
    for read in (lambda: split_images(trained, "test", 5), lambda: calibration_inputs(trained, 32)):
        with pytest.raises(UserError, match=r"labels\.txt: another order: number 1 is 'one', not"):
            read()
    (photos_workdir / "labels.txt").write_text("one\nthree\ntwo\n")
    with pytest.raises(UserError, match=r"'three' is missing, 'zero' is new; restore .*--data_dir"):
        split_images(load_trained(photos_workdir), "test", 5)


def replaced(folder, channels=3, size=32, policy="float32"):
    """Replaces the model by a hand-made one."""
    keras.config.set_dtype_policy(policy)
    try:
        image = keras.Input((size, size, channels))
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
        model = keras.Model(image, keras.layers.Dense(3, name="predictions")(x))
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(folder / "model.keras")
    return folder


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"size": 48}, r"expects images of 48x48 pixels, but .*config\.json says input_size 32"),
        ({"size": None}, r"model\.keras has input .*None.*: devices need a fixed height and width"),
        ({"policy": "mixed_float16"}, r"model\.keras computes in float16 .* needs float32"),
        (
            {"channels": 1},
            r"expects images of 1 channels, but those of image folder .* have 3; name",
        ),
    ],
)
def test_a_hand_made_model_that_does_not_fit_is_named(made, message, photos_workdir):
    with pytest.raises(UserError, match=message) as caught:
        split_images(load_trained(replaced(photos_workdir, **made)), "test", 5)
    assert "\n" not in str(caught.value)


def test_a_softmax_at_the_end_is_removed_and_named(photos_workdir, capsys):
    path = photos_workdir / "model.keras"
    model = load_model(path)
    keras.Model(model.input, keras.layers.Softmax()(model.output), name=model.name).save(path)
    trained = load_trained(photos_workdir)
    assert capsys.readouterr().out.endswith("softmax: what is converted are the logits before it\n")
    x = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(trained.model(x), model(x))
