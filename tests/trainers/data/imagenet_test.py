import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from common.cli import UserError
from trainers.data import imagenet, pipeline, wordnet
from trainers.data.datasets import load_source
from trainers.recipes import make_config

TRAIN, VALIDATION = (name for name, _ in imagenet.ARCHIVES.values())
TRAINED = {"n01440764": 3, "n01443537": 2}  # tench, goldfish
VALIDATED = 4


def jpeg(index):
    photo = Image.fromarray(load_sample_images().images[index % 2])
    file = io.BytesIO()
    photo.crop((10 * index, 0, 400 + 10 * index, 300)).save(file, "JPEG", quality=90)
    return file.getvalue()


def tar(files):
    """Returns an archive's bytes for files by name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """ImageNet's two archives where TFDS expects them, in their layout, with nine photographs."""
    root = tmp_path_factory.mktemp("imagenet")
    folder = root / "downloads" / "manual"
    folder.mkdir(parents=True)
    classes = {
        f"{name}.tar": tar({f"{name}_{index}.JPEG": jpeg(index) for index in range(count)})
        for name, count in TRAINED.items()
    }
    (folder / TRAIN).write_bytes(tar(classes))
    names = [f"ILSVRC2012_val_{index + 1:08d}.JPEG" for index in range(VALIDATED)]
    (folder / VALIDATION).write_bytes(tar({n: jpeg(i) for i, n in enumerate(names)}))
    return root


@pytest.fixture
def small_archives(data_dir, monkeypatch):
    """Makes the sizes of these archives the expected ones."""
    folder = data_dir / "downloads" / "manual"
    sizes = {
        split: (name, (folder / name).stat().st_size)
        for split, (name, _) in imagenet.ARCHIVES.items()
    }
    monkeypatch.setattr(imagenet, "ARCHIVES", sizes)


def config(data_dir, workdir, **overrides):
    values = {"data_dir": str(data_dir), "batch_size": 2, **overrides}
    return make_config("shufflenet_v2_paper", str(workdir), values)


@pytest.mark.usefixtures("small_archives")
def test_from_the_archives_to_batches(data_dir, tmp_path):
    settings = config(data_dir, tmp_path)
    source = load_source(settings.data, settings.data.train_split)
    assert (source.num_examples, source.channels) == (5, 3)
    assert source.class_names[:2] == ("tench", "goldfish")
    batches = pipeline.training_batches(settings, source, 0).as_numpy_iterator()
    taken = zip(*(next(batches) for _ in range(5)), strict=True)
    images, labels = map(np.concatenate, taken)
    assert images.shape == (10, 224, 224, 3)
    assert sorted(labels) == [0] * 6 + [1] * 4  # two epochs


@pytest.mark.usefixtures("small_archives")
def test_evaluation_is_the_papers_centre_crop(data_dir, tmp_path):
    settings = config(data_dir, tmp_path)
    images, labels = pipeline.uint8_images(settings, settings.data.eval_split)
    # The first labels of TFDS's own list for validation.
    assert images.shape == (VALIDATED, 224, 224, 3)
    names = load_source(settings.data, "validation").class_names
    expected = {"sea snake", "alp", "Shetland sheepdog", "soup bowl"}
    assert {names[label] for label in labels} == expected
    crops = []
    for index in range(VALIDATED):
        photo = Image.open(io.BytesIO(jpeg(index)))  # 400x300
        scaled = photo.resize((341, 256), Image.Resampling.BILINEAR)
        left, top = (341 - 224) // 2, (256 - 224) // 2
        crops.append(np.asarray(scaled.crop((left, top, left + 224, top + 224)), int))
    # TFDS has another order. Decoders differ by a few levels.
    errors = [min(np.abs(image - crop).mean() for crop in crops) for image in images]
    assert max(errors) < 1


@pytest.mark.parametrize(
    ("present", "reported"),
    [
        ({}, r"ILSVRC2012_img_train\.tar \(147,897,477,120 bytes, missing\) and "
             r"ILSVRC2012_img_val\.tar \(6,744,924,160 bytes, missing\)"),
        ({TRAIN: b"12345"}, r"147,897,477,120 bytes, but the file has 5: download it again"),
    ],
)  # fmt: skip
def test_missing_and_incomplete_archives_are_reported_with_place_and_size(
    tmp_path, present, reported
):
    folder = tmp_path / "downloads" / "manual"
    folder.mkdir(parents=True)
    for name, content in present.items():
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=reported) as error:
        load_source(config(tmp_path, tmp_path / "work").data, "train")
    assert str(folder) in str(error.value)
    assert "https://image-net.org/download-images" in str(error.value)


def test_validation_needs_no_training_images(tmp_path):
    with pytest.raises(UserError, match=r"put ILSVRC2012_img_val\.tar \(.*missing\) from"):
        imagenet.check_archives(tmp_path, "validation[:100]")


def test_words_for_identifiers():
    words = wordnet.readable(wordnet._identifiers())
    assert (len(words), len(set(words))) == (1000, 1000)
    assert (words[0], words[207], words[999]) == ("tench", "golden retriever", "toilet tissue")
    assert [word for word in words if word.startswith("crane")] == [
        "crane (bird)",
        "crane (machine)",
    ]
    assert wordnet.readable(["b", "a"]) == ("b", "a")
