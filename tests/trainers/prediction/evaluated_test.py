"""Which data a model is evaluated on."""

import json
import shutil

import pytest

from common.cli import UserError
from common.included import included_artifact
from trainers.prediction.evaluated import find_evaluated


@pytest.fixture
def artifact(tmp_path):
    """A copy of the classifier that travels with the package, trained on cifar10."""
    return shutil.copytree(included_artifact(), tmp_path / "artifact")


def change(artifact, training):
    path = artifact / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "training": training}))


def data_of(artifact, data_dir=None):
    return find_evaluated(artifact, None, data_dir).data


def test_the_data_is_that_of_the_training_or_a_folder_of_images(artifact, tmp_path):
    change(artifact, {"dataset": "cifar10", "data_dir": None, "eval_split": "test[:50]"})
    data = data_of(artifact)
    assert (data.dataset, data.data_dir, data.eval_split) == ("cifar10", None, "test[:50]")
    photos = tmp_path / "photos"
    (photos / "test" / "cat").mkdir(parents=True)
    data = data_of(artifact, str(photos))
    assert (data.dataset, data.data_dir, data.channels) == ("folder", str(photos), 3)
    (photos / "cifar10").mkdir()
    data = data_of(artifact, str(photos))
    assert (data.dataset, data.data_dir) == ("cifar10", str(photos))


def test_a_file_of_an_artifact_is_read_as_the_manifest_says(artifact):
    name = next(artifact.glob("*.tflite"))
    assert find_evaluated(name, None, "photos").is_artifact
    other = shutil.copy(name, artifact / "other.tflite")
    with pytest.raises(UserError, match=r"--workdir is missing; name the training that .*other"):
        find_evaluated(other, None, "photos")


@pytest.mark.parametrize(
    ("training", "pattern"),
    [
        ({}, r"does not say on which images it was trained; name them with --data_dir"),
        ({"dataset": 5}, r"does not say on which images"),
        ({"dataset": "folder"}, r"names data that cannot be used \(data_dir is missing"),
        ({"dataset": "digits", "eval_split": "x[3:1]"}, r"cannot be used \(eval_split must have"),
    ],
)
def test_a_manifest_that_does_not_name_its_data_is_refused(artifact, training, pattern):
    change(artifact, training)
    with pytest.raises(UserError, match=pattern):
        data_of(artifact)
