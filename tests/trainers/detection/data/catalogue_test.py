import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from common.cli import UserError
from trainers.data.datasets import load_sources
from trainers.detection.augmentation import BoxAugmentation
from trainers.detection.batches import BatchSettings, training_batches
from trainers.detection.data import catalogue
from trainers.detection.task import open_sources
from trainers.settings import DataConfig

HEIGHT, WIDTH = 48, 80
# Of image n: left, top, right, bottom of its boxes, in pixels.
BOXES = [
    [(8, 6, 40, 30)],
    [],
    [(0, 0, 20, 24), (40, 12, 80, 48)],
    [(16, 0, 32, 48)],
    [(1, 2, 9, 9)],
]


class TinyBoxes(tfds.core.GeneratorBasedBuilder):
    """Five images with up to two boxes, in VOC's and COCO's features."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        boxes = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "is_difficult": np.bool_,
        }
        features = {"image": tfds.features.Image(), "objects": tfds.features.Sequence(boxes)}
        features = tfds.features.FeaturesDict(features)
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(4), "validation": self._generate_examples(5)}

    def _generate_examples(self, count):
        for number in range(count):
            objects = [
                {
                    "bbox": tfds.features.BBox(
                        top / HEIGHT, left / WIDTH, bottom / HEIGHT, right / WIDTH
                    ),
                    "label": place,
                    "is_difficult": place == 1,
                }
                for place, (left, top, right, bottom) in enumerate(BOXES[number])
            ]
            yield number, {"image": photograph(number), "objects": objects}


def photograph(number):
    """A JPEG file, which TFDS keeps as it is."""
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(file, "jpeg")
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return DataConfig(dataset="tiny_boxes", data_dir=str(tmp_path_factory.mktemp("tfds")))


def numbers(source):
    """The images' numbers in `BOXES`, in the source's order, by their bytes."""
    known = {photograph(number).read(): number for number in range(len(BOXES))}
    return [known[image.numpy()] for image, _ in source.ordered()]


def test_images_are_the_data_sets_bytes_with_boxes_in_pixels(data, monkeypatch):
    train, validation = open_sources(data, ["train", "validation"])
    assert train.class_names == validation.class_names == ("cat", "dog")
    assert (train.num_examples, validation.num_examples) == (4, 5)
    assert sorted(numbers(validation)) == [0, 1, 2, 3, 4]
    for image, number in zip(validation.found.images, numbers(validation), strict=True):
        assert (image.width, image.height) == (WIDTH, HEIGHT)
        np.testing.assert_allclose(image.boxes, np.reshape(BOXES[number], (-1, 4)), atol=0.01)
        assert list(image.classes) == list(image.difficult) == [0, 1][: len(image.boxes)]
    # It is written once; another part shares its images.
    root = catalogue.write_as_files(data, ["train"])
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.jpeg")}
    (part,) = open_sources(data, ["train[50%:]"], labels=("dog", "cat"))
    assert (part.num_examples, part.class_names) == (2, ("dog", "cat"))
    assert numbers(part) == numbers(train)[2:]
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.jpeg")} == before
    monkeypatch.setattr(catalogue, "_write", None)
    assert open_sources(data, ["train"])[0].files == train.files


def test_its_stream_resumes_where_it_stopped(data):
    (source,) = open_sources(data, ["train"])
    settings, how = BatchSettings(32, 32, batch_size=2, seed=5), BoxAugmentation(mosaic=0.5)
    whole = list(training_batches(settings, how, source).take(5).as_numpy_iterator())
    rest = list(training_batches(settings, how, source, start=3).take(2).as_numpy_iterator())
    for (images, truth), (again, true) in zip(whole[3:], rest, strict=True):
        assert images.tobytes() == again.tobytes()
        assert truth.boxes.tobytes() == true.boxes.tobytes()


@pytest.mark.parametrize(
    ("changes", "split", "message"),
    [
        ({}, "val", "dataset 'tiny_boxes' has no split 'val'; use train, validation, or a slice"),
        ({"dataset": "digits"}, "train", "has image, label instead of an image and its objects"),
        ({"dataset": "tiny_boxs"}, "train", "unknown dataset 'tiny_boxs'"),
    ],
)
def test_what_cannot_be_used_is_said(data, changes, split, message):
    given = DataConfig(**{"dataset": data.dataset, "data_dir": data.data_dir, **changes})
    with pytest.raises(UserError, match=message):
        open_sources(given, [split])


@pytest.mark.parametrize(
    ("dataset", "load", "message"),
    [
        ("cifar10", open_sources, "has id, image, label instead of an image and its objects"),
        ("tiny_boxes", load_sources, "has image, objects instead of an image with one label"),
    ],
)
def test_another_kind_of_data_set_is_refused_before_it_is_downloaded(
    tmp_path, dataset, load, message
):
    with pytest.raises(UserError, match=message):
        load(DataConfig(dataset=dataset, data_dir=str(tmp_path)), ["train"])
    assert list(tmp_path.iterdir()) == []
