import numpy as np
import pytest
import tensorflow as tf

from trainers import evaluation


def batch(count, classes, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, classes)).astype(np.float32)
    return logits, rng.integers(0, classes, count), np.ones(count, np.float32)


def test_scores_are_numpys():
    parts = [batch(40, 10, seed=s) for s in range(3)]
    scores = evaluation.summarize(evaluation.count(*map(tf.constant, part)) for part in parts)
    logits, labels, _ = map(np.concatenate, zip(*parts, strict=True))
    ranks = (-logits).argsort(axis=1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (labels, ranks[:, 0]), 1)
    assert scores.images == 120
    assert scores.top1 == (ranks[:, 0] == labels).mean()
    assert scores.top5 == (ranks[:, :5] == labels[:, None]).any(axis=1).mean()
    assert scores.loss == pytest.approx(-np.log(probabilities[range(120), labels]).mean(), rel=1e-5)
    np.testing.assert_array_equal(scores.confusion, confusion)


def test_filling_does_not_count():
    logits, labels, weights = batch(30, 10)
    filled = (
        np.concatenate([logits, np.zeros((7, 10), np.float32)]),
        np.concatenate([labels, np.zeros(7, np.int64)]),
        np.concatenate([weights, np.zeros(7, np.float32)]),
    )
    plain = evaluation.summarize([evaluation.count(*map(tf.constant, (logits, labels, weights)))])
    with_filling = evaluation.summarize([evaluation.count(*map(tf.constant, filled))])
    np.testing.assert_array_equal(plain.confusion, with_filling.confusion)
    assert (plain.top1, plain.top5, plain.images) == (
        with_filling.top1,
        with_filling.top5,
        with_filling.images,
    )
    assert plain.loss == pytest.approx(with_filling.loss, rel=1e-6)


def test_top5_of_three_classes_is_everything():
    scores = evaluation.summarize([evaluation.count(*map(tf.constant, batch(20, 3)))])
    assert scores.top5 == 1
