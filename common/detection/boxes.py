"""Boxes: from a detector's raw output to pixels, and how much two of them overlap.

A box is left, top, right, bottom in pixels; its area is (right - left) * (bottom - top).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Left, top, right, bottom: before the classes in a raw output.
SIDES = 4
# A raw distance is clipped to this: one of -4 is 4% of a stride, one of 4 is 109 strides.
RAW_LIMIT = 4.0


class Points(NamedTuple):
    """Where a detector predicts.

    Attributes:
      centers: float32 [points, 2], x and y in pixels.
      strides: float32 [points], the width of a point's cell in pixels.
    """

    centers: np.ndarray
    strides: np.ndarray


def make_points(height: int, width: int, strides: Sequence[int]) -> Points:
    """Returns the centres of all cells: stride by stride, then row by row.

    Args:
      height, width: of the network's input in pixels.
      strides: in the order of the output.

    Raises:
      ValueError: a size is not a multiple of a stride.

    Examples:
      >>> make_points(16, 32, [16]).centers
      array([[ 8.,  8.],
             [24.,  8.]], dtype=float32)
    """
    centers, sizes = [], []
    for stride in strides:
        if stride < 1 or height % stride or width % stride:
            raise ValueError(
                f"the input's size must be a multiple of each stride. Received: {height}x{width} "
                f"pixels and stride {stride}"
            )
        rows, columns = np.mgrid[: height // stride, : width // stride]
        cells = np.stack([columns.ravel(), rows.ravel()], axis=-1)
        centers.append((cells + 0.5) * stride)
        sizes.append(np.full(len(cells), stride))
    return Points(
        np.concatenate(centers).astype(np.float32), np.concatenate(sizes).astype(np.float32)
    )


def decode(raw: np.ndarray, points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Returns the boxes and the scores of a raw output.

    A side's distance from the point's centre is 2 * stride * exp(raw).

    Args:
      raw: [..., points, 4 + classes], dequantized: distances, then logits.
      points: where the network predicts.

    Returns:
      float32 [..., points, 4], pixels of the network's input, and float32 [..., points, classes],
      probabilities.

    Raises:
      ValueError: the output has another number of points, or no class.

    Examples:
      >>> boxes, scores = decode(np.zeros((1, 5)), make_points(32, 32, [32]))
      >>> boxes, scores
      (array([[-48., -48.,  80.,  80.]], dtype=float32), array([[0.5]], dtype=float32))
    """
    raw = np.asarray(raw, np.float32)
    if raw.ndim < 2 or raw.shape[-2] != len(points.strides) or raw.shape[-1] <= SIDES:
        raise ValueError(
            f"a raw output must be (..., {len(points.strides)} points, {SIDES} + classes). "
            f"Received: shape={raw.shape}"
        )
    reach = np.exp(np.clip(raw[..., :SIDES], -RAW_LIMIT, RAW_LIMIT))
    reach = reach * (2 * points.strides[:, None])
    boxes = np.concatenate(
        [points.centers - reach[..., :2], points.centers + reach[..., 2:]], axis=-1
    )
    return boxes, _sigmoid(raw[..., SIDES:])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    # Of large negative numbers, exp(-x) would be infinite.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def areas(boxes: np.ndarray) -> np.ndarray:
    """Returns the area of each box of [..., 4]; 0 where corners are swapped."""
    sizes = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return sizes[..., 0] * sizes[..., 1]


def iou(left: np.ndarray, right: np.ndarray, crowds: np.ndarray | None = None) -> np.ndarray:
    """Returns the intersection over union of each box of `left` with each of `right`.

    Args:
      left: [n, 4].
      right: [m, 4].
      crowds: bool [m], the boxes of `right` that stand for many objects: there, the intersection
        is divided by the area of the box of `left` alone, as in COCO's evaluation.

    Returns:
      [n, m], from 0 to 1; 0 for two boxes without an area.

    Examples:
      >>> iou(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [5, 5, 6, 6]]))
      array([[0.33333333, 0.        ]])
    """
    left, right = np.asarray(left), np.asarray(right)
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    sizes = np.maximum(high - low, 0)
    shared = sizes[..., 0] * sizes[..., 1]
    union = areas(left)[:, None] + areas(right)[None] - shared
    if crowds is not None:
        union = np.where(np.asarray(crowds, bool)[None], areas(left)[:, None], union)
    return np.divide(shared, union, out=np.zeros(shared.shape, np.float64), where=union > 0)
