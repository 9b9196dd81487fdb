"""Which point learns which box: task-aligned assignment.

TAL (Feng et al., 2021, https://arxiv.org/abs/2108.07755, section 3.2): a box is learnt by the
points that already find it best, in class and in place together. So scores come to say how good
boxes are, which is what suppression needs.
"""

from typing import NamedTuple

import tensorflow as tf

from trainers.detection.box_ops import Grid, Truth, iou

# Points a box, and the exponents of score and overlap in the alignment.
TOP = 10
SCORE_POWER, OVERLAP_POWER = 0.5, 4.0
# Points this near to the centre of a box may learn it even if it is too small to have one inside.
NEAR = 0.75  # strides
# Where nothing overlaps a box yet, the points near its centre learn it, with this score at best:
# otherwise it would have no gradient, and would never be found.
_LEAST_ALIGNMENT, _LEAST_SCORE = 1e-9, 0.05


class Assignment(NamedTuple):
    """What each point is to predict; without gradients.

    Attributes:
      scores: float32 [batch, points, classes], 0 for background.
      boxes: float32 [batch, points, 4]; arbitrary where `weights` is 0.
      weights: float32 [batch, points], of the box's loss: the score, 0 for background.
      counted: float32 [batch, points], 0 for background inside of ignored boxes, else 1.
    """

    scores: tf.Tensor
    boxes: tf.Tensor
    weights: tf.Tensor
    counted: tf.Tensor


def assign(scores: tf.Tensor, boxes: tf.Tensor, truth: Truth, grid: Grid) -> Assignment:
    """Returns what each point is to predict.

    The alignment of a point and a box is `score ** 0.5 * IoU ** 4`. Of the points whose centre is
    inside of a box or near its middle, the ten with the largest alignment learn the box; a point
    that two boxes choose learns that of the larger IoU. The score to learn is the alignment, scaled
    so that the best of a box's points has the best IoU.

    Args:
      scores: float32 [batch, points, classes], predicted probabilities.
      boxes: float32 [batch, points, 4], predicted.
      truth: the boxes to find.
      grid: the detector's points.
    """
    scores, boxes = tf.stop_gradient(scores), tf.stop_gradient(boxes)
    # From here on, [batch, points, most].
    overlaps = iou(boxes[:, :, None], truth.boxes[:, None])
    own = tf.gather(scores, truth.classes, axis=2, batch_dims=1)
    inside = _is_inside(grid, truth)
    near = _is_near(grid, truth)
    alignment = own**SCORE_POWER * overlaps**OVERLAP_POWER + _LEAST_ALIGNMENT * tf.cast(
        near, tf.float32
    )
    possible = (inside | near) & truth.wanted[:, None]
    alignment = tf.where(possible, alignment, 0.0)
    chosen = _best_box(_top(alignment), overlaps)
    targets = _scaled(tf.where(chosen, alignment, 0.0), tf.where(chosen, overlaps, 0.0))

    weights = tf.reduce_sum(targets, 2)
    index = tf.argmax(tf.cast(chosen, tf.int32), 2)
    classes = tf.gather(truth.classes, index, batch_dims=1)
    ignored = tf.reduce_any(inside & truth.ignored[:, None], 2) & ~tf.reduce_any(chosen, 2)
    return Assignment(
        scores=tf.one_hot(classes, scores.shape[-1]) * weights[..., None],
        boxes=tf.gather(truth.boxes, index, batch_dims=1),
        weights=weights,
        counted=1.0 - tf.cast(ignored, tf.float32),
    )


def _is_inside(grid: Grid, truth: Truth) -> tf.Tensor:
    """Returns whether each point's centre is inside of each box, bool [batch, points, most]."""
    centers, corners = grid.centers[None, :, None], truth.boxes[:, None]
    after = tf.reduce_all(centers > corners[..., :2], -1)
    return after & tf.reduce_all(centers < corners[..., 2:], -1)


def _is_near(grid: Grid, truth: Truth) -> tf.Tensor:
    middles = (truth.boxes[:, None, :, :2] + truth.boxes[:, None, :, 2:]) / 2
    distances = tf.reduce_max(tf.abs(grid.centers[None, :, None] - middles), -1)
    return distances < NEAR * grid.strides[None, :, None]


def _top(alignment: tf.Tensor) -> tf.Tensor:
    """Returns whether a point is one of the best of a box; bool, in the shape of `alignment`."""
    by_box = tf.transpose(alignment, [0, 2, 1])
    count = min(TOP, by_box.shape[-1])
    least = tf.transpose(tf.math.top_k(by_box, count).values[..., -1:], [0, 2, 1])
    return (alignment > 0) & (alignment >= least)


def _best_box(chosen: tf.Tensor, overlaps: tf.Tensor) -> tf.Tensor:
    """Returns `chosen` with one box at most for each point: that of the largest overlap."""
    best = tf.argmax(tf.where(chosen, overlaps, -1.0), 2)
    return chosen & tf.one_hot(best, chosen.shape[2], on_value=True, off_value=False)


def _scaled(alignment: tf.Tensor, overlaps: tf.Tensor) -> tf.Tensor:
    """Returns the alignment, scaled for each box so that its maximum is that of the overlaps."""
    largest = tf.reduce_max(alignment, 1, keepdims=True)
    best = tf.maximum(tf.reduce_max(overlaps, 1, keepdims=True), _LEAST_SCORE)
    return tf.math.divide_no_nan(alignment, largest) * best
