"""The loss of a detector: classes and boxes, weighted by how well a point finds its box."""

from typing import NamedTuple

import tensorflow as tf

from common.detection.boxes import SIDES
from trainers.detection.assignment import assign
from trainers.detection.box_ops import Grid, Truth, decode, giou

# Of background, so that the many easy points do not outweigh the few hard ones (varifocal loss:
# Zhang et al., 2021, https://arxiv.org/abs/2008.13367, equation 2).
_BACKGROUND, _FOCUS = 0.75, 2.0
_BOX_WEIGHT = 2.0


class Losses(NamedTuple):
    """The loss of each image, in two parts.

    Attributes:
      classes: float32 [batch].
      boxes: float32 [batch].
    """

    classes: tf.Tensor
    boxes: tf.Tensor

    @property
    def total(self) -> tf.Tensor:
        """What is minimized, float32 [batch]."""
        return self.classes + self.boxes


def detection_losses(raw: tf.Tensor, truth: Truth, grid: Grid) -> Losses:
    """Returns the losses of a batch.

    Both parts are divided by the mean sum of the targets of an image, at least 1 a batch: a batch
    counts by its objects, not by its points.

    Args:
      raw: float32 [batch, points, 4 + classes], the detector's output.
      truth: the boxes to find.
      grid: the detector's points.

    Examples:
      >>> losses = detection_losses(model(images, training=True), truth, make_grid(64, 64, (8,)))
      >>> loss = tf.reduce_mean(losses.total)
    """
    logits, boxes = raw[..., SIDES:], decode(raw, grid)
    found = assign(tf.sigmoid(logits), boxes, truth, grid)
    # Of the whole batch: an image without an object would divide by nothing.
    total = tf.maximum(tf.reduce_sum(found.weights), 1.0)
    share = total / tf.cast(tf.shape(raw)[0], tf.float32)
    classes = _class_loss(logits, found.scores) * found.counted[..., None]
    distance = (1.0 - giou(boxes, found.boxes)) * found.weights
    return Losses(
        classes=tf.reduce_sum(classes, [1, 2]) / share,
        boxes=_BOX_WEIGHT * tf.reduce_sum(distance, 1) / share,
    )


def _class_loss(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns cross-entropy with soft targets; background counts by how much it looks like one."""
    alike = tf.stop_gradient(tf.sigmoid(logits))
    weights = tf.where(targets > 0, 1.0, _BACKGROUND * alike**_FOCUS)
    return weights * tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)


def distillation_losses(
    teacher: tf.Tensor, student: tf.Tensor, temperature: float, grid: Grid
) -> tf.Tensor:
    """Returns how far a detector's output is from a teacher's.

    Of every class the Kullback-Leibler divergence, as of an output of its own (Hinton et al., 2015:
    multiplied by the squared temperature), and of every box 1 - GIoU, weighted by the teacher's
    score for its likeliest class. Both are divided as in `detection_losses`, by the sum of these
    scores.

    Args:
      teacher, student: float32 [batch, points, 4 + classes], raw outputs.
      temperature: divides the logits.
      grid: the detector's points.

    Returns:
      float32 [batch].
    """
    known, guess = teacher[..., SIDES:] / temperature, student[..., SIDES:] / temperature
    targets = tf.sigmoid(known)
    # Of the same targets: their difference is the divergence, 0 where both agree.
    classes = tf.nn.sigmoid_cross_entropy_with_logits(targets, guess)
    classes -= tf.nn.sigmoid_cross_entropy_with_logits(targets, known)
    scores = tf.reduce_max(tf.sigmoid(teacher[..., SIDES:]), -1)
    share = tf.maximum(tf.reduce_sum(scores), 1.0) / tf.cast(tf.shape(scores)[0], tf.float32)
    distance = (1.0 - giou(decode(student, grid), decode(teacher, grid))) * scores
    total = temperature**2 * tf.reduce_sum(classes, [1, 2])
    return (total + _BOX_WEIGHT * tf.reduce_sum(distance, 1)) / share
