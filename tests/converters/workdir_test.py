import pytest

from common.cli import UserError
from converters.workdir import load_trained
from keras_shufflenet import preprocessing_of
from trainers.networks.models import build_model, save_model
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
