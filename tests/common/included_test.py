import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.artifact import Artifact
from common.cli import UserError
from common.included import included_artifact

IMAGES = Path(__file__).resolve().parents[3] / "shared/data/cifar10_jpeg.tar.gz"


def test_the_classifier_is_small_and_says_what_it_is():
    artifact = Artifact.open(included_artifact())
    sizes = [path.stat().st_size for path in artifact.folder.iterdir()]
    assert sum(sizes) < 1e6
    assert {entry["graph"] for entry in artifact.files.values()} == {"deployment", "canonical"}
    assert artifact.labels[0] == "airplane" and len(artifact.labels) == 10
    card = (artifact.folder / "README.md").read_text(encoding="utf-8")
    pages = Path(__file__).resolve().parents[2] / "docs/model_cards.md"
    assert card.partition("\n")[2].strip() in pages.read_text(encoding="utf-8")


def test_the_classifier_knows_its_test_images():
    if not IMAGES.is_file():
        pytest.skip("needs the shared CIFAR-10")
    artifact = Artifact.open(included_artifact())
    images, labels = _test_images(artifact.labels)
    outputs = artifact.load(artifact.default_file()).predict(artifact.preprocess(images))
    # Its card says 79.6% of 10,000.
    assert (outputs.argmax(axis=-1) == labels).mean() > 0.7


def _test_images(names):
    """A hundredth of the test images, scaled as the artifact wants, and their classes."""
    images, labels = [], []
    with tarfile.open(IMAGES) as archive:
        for member in archive:
            place = Path(member.name)
            if place.parts[0] == "test" and member.isfile() and place.stem.endswith("50"):
                picture = Image.open(io.BytesIO(archive.extractfile(member).read()))
                images.append(np.asarray(picture.convert("RGB").resize((40, 40), Image.BILINEAR)))
                labels.append(names.index(place.parent.name))
    return np.stack(images), np.array(labels)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UserError, match="no artifact 'dogs' travels with the package; cifar10"):
        included_artifact("dogs")
