import numpy as np
import pytest
import tensorflow as tf

from common.detection import boxes as numpy_boxes
from trainers.detection.assignment import assign
from trainers.detection.box_ops import Truth, decode, giou, iou, make_grid
from trainers.detection.losses import detection_losses, distillation_losses

GRID = make_grid(32, 32, (8, 16))
POINTS = numpy_boxes.make_points(32, 32, (8, 16))
BOXES = np.float32([[[2, 2, 20, 20], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]]])


def a_truth():
    """Two images: one box, and none."""
    wanted = np.array([[True, False], [False, False]])
    classes, ignored = np.int32([[1, 0], [0, 0]]), np.zeros((2, 2), bool)
    return Truth(*map(tf.constant, (BOXES, classes, wanted, ignored)))


def raw(seed=0):
    return np.random.default_rng(seed).normal(0, 0.5, (2, 20, 4 + 3)).astype(np.float32)


def test_decoding_is_that_of_devices():
    outputs = raw() * 6  # beyond the limit
    expected, _ = numpy_boxes.decode(outputs, POINTS)
    np.testing.assert_allclose(decode(outputs, GRID), expected, rtol=1e-5, atol=1e-4)


def test_overlaps_by_hand():
    left = np.float32([[0, 0, 4, 4]] * 4)
    right = np.float32([[0, 0, 4, 4], [2, 0, 6, 4], [8, 0, 12, 4], [0, 0, 2, 2]])
    np.testing.assert_allclose(iou(left, right), [1, 1 / 3, 0, 1 / 4], atol=1e-6)
    # The boxes around them have 16, 24, 48 and 16 square pixels; 0, 0, 16 and 0 are not covered.
    np.testing.assert_allclose(giou(left, right), [1, 1 / 3, -16 / 48, 1 / 4], atol=1e-6)


def test_losses_as_by_hand():
    outputs = raw()
    found = assign(tf.sigmoid(outputs[..., 4:]), decode(outputs, GRID), a_truth(), GRID)
    targets, weights = found.scores.numpy().astype(float), found.weights.numpy()
    assert np.count_nonzero(weights[0]) >= 4 and not weights[1].any()
    p = 1 / (1 + np.exp(-outputs[..., 4:].astype(float)))
    entropy = -(targets * np.log(p) + (1 - targets) * np.log(1 - p))
    entropy *= np.where(targets > 0, 1, 0.75 * p**2)
    boxes, _ = numpy_boxes.decode(outputs, POINTS)
    distance = np.zeros(2)
    for point in np.flatnonzero(weights[0]):
        one, wanted = boxes[0, point].astype(float), BOXES[0, 0]
        overlap = numpy_boxes.iou(one[None], wanted[None])[0, 0]
        around = np.prod(np.maximum(one[2:], wanted[2:]) - np.minimum(one[:2], wanted[:2]))
        areas = numpy_boxes.areas(one) + numpy_boxes.areas(wanted)
        union = areas / (1 + overlap)
        distance[0] += weights[0, point] * (1 - overlap + (around - union) / around)
    share = max(weights.sum(), 1) / 2
    losses = detection_losses(outputs, a_truth(), GRID)
    np.testing.assert_allclose(losses.classes, entropy.sum((1, 2)) / share, rtol=1e-4)
    np.testing.assert_allclose(losses.boxes, 2 * distance / share, rtol=1e-4)
    np.testing.assert_allclose(losses.total, losses.classes + losses.boxes)


def test_distillation_losses_as_by_hand():
    teacher, student = raw(0), raw(1)
    teacher[..., 4:] -= 1
    known, guess = (1 / (1 + np.exp(-x[..., 4:].astype(float) / 3)) for x in (teacher, student))
    divergence = known * np.log(known / guess) + (1 - known) * np.log((1 - known) / (1 - guess))
    scores = (1 / (1 + np.exp(-teacher[..., 4:].astype(float)))).max(-1)
    boxes = [numpy_boxes.decode(x, POINTS)[0] for x in (teacher, student)]
    expected = 9 * divergence.sum((1, 2)) + 2 * (scores * (1 - giou(*boxes).numpy())).sum(1)
    expected /= scores.sum() / 2
    np.testing.assert_allclose(distillation_losses(teacher, student, 3.0, GRID), expected, 1e-4)
    np.testing.assert_allclose(distillation_losses(teacher, teacher, 3.0, GRID), 0, atol=1e-4)


def test_what_is_ignored_has_no_gradient():
    wanted = np.zeros((2, 2), bool)
    boxes = tf.constant(np.float32([[[0, 0, 32, 32], [0, 0, 0, 0]]] * 2))
    ignored = tf.constant([[True, False], [False, False]])
    everything = Truth(boxes, tf.zeros((2, 2), tf.int32), tf.constant(wanted), ignored)
    outputs = tf.Variable(raw())
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(detection_losses(outputs, everything, GRID).total)
    gradient = tape.gradient(loss, outputs).numpy()
    assert not gradient[0].any()
    assert gradient[1, :, 4:].all()


@pytest.mark.medium
def test_a_free_output_learns_its_boxes():
    outputs, optimizer = tf.Variable(raw()), tf.keras.optimizers.Adam(0.1)
    outputs[..., 4:].assign(tf.fill((2, 20, 3), -4.0))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(detection_losses(outputs, a_truth(), GRID).total)
        optimizer.apply_gradients([(tape.gradient(loss, outputs), outputs)])
        return loss

    first = float(step())
    for _ in range(150):
        last = float(step())
    assert np.isfinite(first) and last < 0.25 * first
    boxes, scores = numpy_boxes.decode(outputs.numpy(), POINTS)
    best = scores[0, :, 1].argmax()
    assert scores[0, best, 1] > 0.8
    assert boxes[0, best] == pytest.approx(BOXES[0, 0], abs=1)
    assert scores[1].max() < 0.2
