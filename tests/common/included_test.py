import numpy as np
import pytest

from common.artifact import Artifact
from common.cli import UserError
from common.included import included_artifact


def test_the_classifier_is_small_and_as_accurate_as_its_card_says():
    artifact = Artifact.open(included_artifact())
    sizes = [path.stat().st_size for path in artifact.folder.iterdir()]
    assert sum(sizes) < 1e6
    name = artifact.default_file()
    assert {entry["graph"] for entry in artifact.files.values()} == {"deployment", "canonical"}
    images, labels = artifact.samples()
    outputs = artifact.load(name).predict(artifact.preprocess(images))
    right = (outputs.argmax(axis=-1) == labels).mean()
    assert right == pytest.approx(artifact.files[name]["accuracy"], abs=0.02)
    assert np.bincount(labels).min() > 0
    assert f"{artifact.labels[0]}" == "airplane" and len(artifact.labels) == 10


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UserError, match="no artifact 'dogs' travels with the package; cifar10"):
        included_artifact("dogs")
