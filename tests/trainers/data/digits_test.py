import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

import trainers.data.digits  # noqa: F401  Registers the data set.


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
