import numpy as np
import pytest
import tensorflow as tf

from trainers.data.datasets import load_source
from trainers.data.sources import IndexedSource
from trainers.recipes import make_config
from trainers.task import Task, balanced_weights


def source(counts):
    names = tuple(map(str, range(len(counts))))
    return IndexedSource(names, sum(counts), 1, read=None, class_counts=counts)


def test_balanced_classes_count_alike_and_images_one_on_average():
    counts = np.array([30, 10, 0, 5])
    weights = balanced_weights(counts)
    np.testing.assert_allclose(weights * counts, [15, 15, 0, 15])
    assert weights @ counts == counts.sum()


def test_images_are_counted_where_their_numbers_are_not_known():
    config = make_config("digits", "w", {})
    digits = load_source(config.data, "test")
    assert digits.class_counts is None
    labels = [int(label) for _, label in digits.ordered()]
    assert digits.counts().tolist() == np.bincount(labels).tolist()
    assert digits.counts().sum() == 360


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_are_in_the_loss_of_labels_and_of_shares(smoothing):
    logits = tf.constant([[1.0, 2.0], [0.5, 0.0], [3.0, -1.0]])
    labels = tf.constant([0, 1, 0], tf.int64)
    shares = tf.constant([[0.75, 0.25], [0.0, 1.0], [0.5, 0.5]])
    plain, weighted = (
        Task(make_config("digits", "w", {"class_weights": how, "label_smoothing": smoothing}))
        for how in ("none", "balanced")
    )
    for task in (plain, weighted):
        task.weigh_classes(source((30, 10)))
    # 20 of 30 images and 20 of 10.
    rare, common = 2.0, 2 / 3
    for given, weights in (
        (labels, [common, rare, common]),
        (shares, [0.75 * common + 0.25 * rare, rare, (common + rare) / 2]),
    ):
        expected = plain.losses(None, given, logits) * weights
        np.testing.assert_allclose(weighted.losses(None, given, logits), expected, rtol=1e-6)
