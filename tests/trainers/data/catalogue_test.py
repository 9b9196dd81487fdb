import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from common.cli import UserError
from trainers.data.datasets import load_source
from trainers.data.sources import IndexedSource, RecordSource
from trainers.settings import DataConfig


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    return {"data_dir": str(folder)}


def elements(stream):
    pairs = [(image.numpy(), int(label)) for image, label in stream]
    return [(image if isinstance(image, bytes) else image.tobytes(), c) for image, c in pairs]


def test_records_are_the_images_of_the_cache(digits):
    cached = load_source(DataConfig(dataset="digits", **digits), "test")
    records = load_source(DataConfig(dataset="digits", **digits, cache_mb=0), "test")
    assert isinstance(cached, IndexedSource)
    assert isinstance(records, RecordSource)
    decoded = [(tf.io.decode_image(image), label) for image, label in records.ordered()]
    assert elements(decoded) == elements(cached.ordered())


def test_slices_of_records(digits):
    config = DataConfig(dataset="digits", **digits, cache_mb=0)
    parts = [load_source(config, f"train{part}") for part in ("", "[:70%]", "[70%:]")]
    whole, first, rest = (elements(part.ordered()) for part in parts)
    assert first + rest == whole
    assert [sum(part.sizes) for part in parts] == [part.num_examples for part in parts]
    shuffled = parts[1].shuffled(0, 0).take(len(first))
    assert sorted(elements((image, label) for _, _, image, label in shuffled)) == sorted(first)


def test_a_data_set_to_download_by_hand_shows_its_instructions(tmp_path):
    config = DataConfig(dataset="resisc45", data_dir=str(tmp_path))
    with pytest.raises(
        UserError, match=r"resisc45.* cannot be prepared.*extract it to the manual_dir"
    ):
        load_source(config, "train")


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    loaded = tfds.load("digits", data_dir=folder, batch_size=-1)
    return tfds.as_numpy(loaded)


def test_sizes_are_those_of_the_documentation(splits):
    assert splits["train"]["image"].shape == (1437, 8, 8, 1)
    assert splits["test"]["image"].shape == (360, 8, 8, 1)


def test_each_class_gives_a_fifth_to_the_test(splits):
    test = np.bincount(splits["test"]["label"], minlength=10)
    every = test + np.bincount(splits["train"]["label"], minlength=10)
    assert np.abs(test - every * 360 / 1797).max() < 1


def test_the_images_are_scikit_learns_each_once(splits):
    images, labels = load_digits(return_X_y=True)
    expected = np.rint(images * 255 / 16).astype(np.uint8)
    ours = np.concatenate([splits[s]["image"].reshape(-1, 64) for s in ("train", "test")])
    our_labels = np.concatenate([splits[s]["label"] for s in ("train", "test")])

    def sorted_rows(pixels, classes):
        rows = np.column_stack([classes, pixels])
        return rows[np.lexsort(rows.T)]

    np.testing.assert_array_equal(sorted_rows(ours, our_labels), sorted_rows(expected, labels))


def test_the_split_is_always_the_same(splits, tmp_path):
    again = tfds.as_numpy(tfds.load("digits", data_dir=tmp_path, split="test", batch_size=-1))
    np.testing.assert_array_equal(again["image"], splits["test"]["image"])
    np.testing.assert_array_equal(again["label"], splits["test"]["label"])
