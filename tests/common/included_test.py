import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.artifact import Artifact
from common.cli import UserError
from common.included import find_artifact, included_artifact

IMAGES = Path(__file__).resolve().parents[3] / "shared/data/cifar10_jpeg.tar.gz"


@pytest.mark.parametrize(
    ("name", "task", "labels"),
    [
        ("cifar10", "classification", ["airplane", "automobile", "bird", "cat", "deer"]),
        ("bccd", "detection", ["RBC", "WBC", "Platelets"]),
    ],
)
def test_what_travels_is_small_and_says_what_it_is(name, task, labels):
    artifact = Artifact.open(included_artifact(name))
    sizes = [path.stat().st_size for path in artifact.folder.iterdir()]
    assert sum(sizes) < 1e6
    assert {entry["graph"] for entry in artifact.files.values()} == {"deployment", "canonical"}
    assert (artifact.task, artifact.labels[:5]) == (task, labels)
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


def test_the_detector_finds_its_sample_s_cells_and_has_its_licences():
    artifact = Artifact.open(included_artifact("bccd"))
    images = artifact.preprocess(artifact.sample_arrays(["images"])[0])
    raw = artifact.load(artifact.default_file()).predict(images)
    # Its card says 86.6% of 87 images.
    assert artifact.decoding.precision(raw, artifact.sample_truths()).ap50 > 0.8
    for name, holder in (("FastestDet-BSD3", "xuehao.ma"), ("BCCD-MIT", "shenggan")):
        assert holder in (artifact.folder / f"LICENSE.{name}").read_text(encoding="utf-8")


def test_a_folder_comes_before_what_travels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_artifact("bccd") == included_artifact("bccd")
    assert find_artifact(None) == included_artifact("cifar10")
    assert find_artifact("work") == Path("work")
    (tmp_path / "bccd").mkdir()
    # The images of the documentation's example are in a folder of this name.
    assert find_artifact("bccd") == included_artifact("bccd")
    (tmp_path / "bccd" / "config.json").touch()
    assert find_artifact("bccd") == Path("bccd")


def test_an_unknown_name_lists_the_known():
    with pytest.raises(
        UserError, match="no artifact 'dogs' travels with the package; bccd, cifar10 do"
    ):
        included_artifact("dogs")
