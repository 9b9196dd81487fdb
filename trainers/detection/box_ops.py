"""Boxes as tensors: decoding and overlaps with gradients.

Boxes are left, top, right, bottom in pixels of the network's input, as in `common.detection.boxes`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from common.detection.boxes import RAW_LIMIT, SIDES, make_points

# Square pixels: keeps quotients finite and changes no overlap of real boxes.
_NOTHING = 1e-7


class Grid(NamedTuple):
    """The points of a detector as constants.

    Attributes:
      centers: float32 [points, 2], x and y in pixels.
      strides: float32 [points].
    """

    centers: tf.Tensor
    strides: tf.Tensor


class Truth(NamedTuple):
    """The boxes of a batch of images, padded to the same number.

    Attributes:
      boxes: float32 [batch, most, 4], pixels of the network's input.
      classes: int32 [batch, most].
      wanted: bool [batch, most], boxes to learn.
      ignored: bool [batch, most], crowds and difficult boxes: nothing inside of them is learnt,
        neither as an object nor as background. Neither wanted nor ignored: padding.
    """

    boxes: tf.Tensor
    classes: tf.Tensor
    wanted: tf.Tensor
    ignored: tf.Tensor


def make_grid(height: int, width: int, strides: Sequence[int]) -> Grid:
    """Returns the points of a detector as tensors; see `common.detection.boxes.make_points`."""
    points = make_points(height, width, strides)
    return Grid(tf.constant(points.centers), tf.constant(points.strides))


def decode(raw: tf.Tensor, grid: Grid) -> tf.Tensor:
    """Returns the boxes of a raw output, with gradients; see `common.detection.boxes.decode`.

    Args:
      raw: float32 [batch, points, 4 + classes].
      grid: the detector's points.

    Returns:
      float32 [batch, points, 4].
    """
    reach = tf.exp(tf.clip_by_value(raw[..., :SIDES], -RAW_LIMIT, RAW_LIMIT))
    reach *= 2 * grid.strides[:, None]
    return tf.concat([grid.centers - reach[..., :2], grid.centers + reach[..., 2:]], -1)


def iou(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Returns the intersection over union of boxes of the same, or broadcast, shapes [..., 4]."""
    return _shared_and_union(left, right)[0]


def giou(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Returns the generalized IoU, from -1 to 1: it tells how far apart boxes are.

    IoU minus the share of the smallest box around both that neither covers (Rezatofighi et al.,
    2019, https://arxiv.org/abs/1902.09630, Algorithm 1).
    """
    overlap, union = _shared_and_union(left, right)
    low = tf.minimum(left[..., :2], right[..., :2])
    high = tf.maximum(left[..., 2:], right[..., 2:])
    around = tf.reduce_prod(high - low, -1) + _NOTHING
    return overlap - (around - union) / around


def _shared_and_union(left: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the intersection over the union, and the union's area."""
    low = tf.maximum(left[..., :2], right[..., :2])
    high = tf.minimum(left[..., 2:], right[..., 2:])
    shared = _area(low, high)
    union = _area(left[..., :2], left[..., 2:]) + _area(right[..., :2], right[..., 2:]) - shared
    union += _NOTHING
    return shared / union, union


def _area(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    sizes = tf.maximum(high - low, 0.0)
    # Not reduce_prod: where both are zero, its gradient costs more.
    return sizes[..., 0] * sizes[..., 1]
