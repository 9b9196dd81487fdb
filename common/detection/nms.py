"""Keeps the best of the boxes that lie on top of each other (non-maximum suppression, NMS)."""

from typing import NamedTuple

import numpy as np

from common.detection.boxes import Points, areas, decode

# Of so many boxes with the highest scores, duplicates are removed: what is below is noise.
CANDIDATES = 1000
# The usual choices of COCO's evaluations.
SCORE, OVERLAP, MOST = 0.001, 0.6, 100


class Detections(NamedTuple):
    """What was found in one image, best first.

    Attributes:
      boxes: float32 [n, 4], left, top, right, bottom in pixels.
      scores: float32 [n].
      classes: int64 [n].
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def suppress(
    boxes: np.ndarray,
    scores: np.ndarray,
    score: float = SCORE,
    overlap: float = OVERLAP,
    most: int = MOST,
    candidates: int = CANDIDATES,
) -> Detections:
    """Returns the boxes that no better one of the same class overlaps.

    Greedy: the best box removes those of its class whose IoU with it exceeds `overlap`, then the
    best of the rest does, and so on. Equal scores are taken in the order of points, then classes.

    Args:
      boxes: [points, 4].
      scores: [points, classes].
      score: a lower score is no detection.
      overlap: the largest IoU that two boxes of a class keep.
      most: the largest number of detections.
      candidates: the largest number of (point, class) that are looked at, those with the highest
        scores.

    Examples:
      >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]])
      >>> suppress(boxes, np.array([[0.8], [0.9], [0.3]])).boxes
      array([[ 0.,  0., 10.,  9.],
             [20.,  0., 30., 10.]], dtype=float32)
    """
    points, classes = np.nonzero(scores >= score)
    found = scores[points, classes]
    order = np.argsort(-found, kind="stable")[:candidates]
    points, classes, found = points[order], classes[order], found[order].astype(np.float32)
    chosen = boxes[points].astype(np.float32).reshape(-1, 4)
    kept = _kept(chosen, classes, overlap, most)
    return Detections(chosen[kept], found[kept], classes[kept])


def _kept(boxes: np.ndarray, classes: np.ndarray, overlap: float, most: int) -> list[int]:
    alive, kept, sizes = np.ones(len(boxes), bool), [], areas(boxes)
    for index in range(len(boxes)):
        if len(kept) == most:
            break
        if not alive[index]:
            continue
        kept.append(index)
        low = np.maximum(boxes[index, :2], boxes[:, :2])
        high = np.minimum(boxes[index, 2:], boxes[:, 2:])
        extents = np.maximum(high - low, 0)
        shared = extents[:, 0] * extents[:, 1]
        # Without a division, so that boxes without an area overlap nothing.
        is_duplicate = shared > np.float32(overlap) * (sizes[index] + sizes - shared)
        alive &= ~(is_duplicate & (classes == classes[index]))
    return kept


def detect(raw: np.ndarray, points: Points, **limits: float) -> list[Detections]:
    """Returns what a detector found in each image.

    Args:
      raw: [images, points, 4 + classes], dequantized.
      points: where the network predicts.
      **limits: those of `suppress`.

    Examples:
      >>> (found,) = detect(model.predict(image), make_points(320, 320, (8, 16, 32)), score=0.3)
    """
    boxes, scores = decode(raw, points)
    return [suppress(*one, **limits) for one in zip(boxes, scores, strict=True)]
