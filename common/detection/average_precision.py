"""Average precision as COCO defines it: how well boxes and scores are found, in one number.

The same numbers as pycocotools's COCOeval for boxes (https://cocodataset.org/#detection-eval):
101 recalls, ten IoU thresholds, at most 100 detections an image, crowds and other ignored boxes
neither right nor wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.detection import boxes as box
from common.detection.nms import Detections

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST = 100  # detections an image
# Square pixels; both ends belong to a range.
_FAR = 1e10
AREAS = {
    "all": (0, _FAR),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, _FAR),
}


@dataclass(frozen=True)
class Truth:
    """The boxes of one image.

    Attributes:
      boxes: [n, 4], left, top, right, bottom in pixels.
      classes: int [n].
      crowds: bool [n], boxes around many objects; any number of detections may lie in one. None:
        there are none.
      ignored: bool [n], boxes that need not be found ("difficult" in Pascal VOC). None: none.
      areas: [n], square pixels, where they are not those of the boxes: COCO has those of the
        objects' outlines.
    """

    boxes: np.ndarray
    classes: np.ndarray
    crowds: np.ndarray | None = None
    ignored: np.ndarray | None = None
    areas: np.ndarray | None = None


@dataclass(frozen=True)
class AveragePrecision:
    """Scores from 0 to 1; None where there is no box to find.

    Attributes:
      ap: the mean over the thresholds of IoU from 0.5 to 0.95, and over the classes.
      ap50, ap75: at one threshold.
      small, medium, large: as `ap`, of boxes below 32x32 pixels, up to 96x96, and above.
      per_class: as `ap`, of each class.
      per_class50: as `ap50`, of each class.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None
    per_class: tuple[float | None, ...]
    per_class50: tuple[float | None, ...]


def average_precision(
    truths: Sequence[Truth], detections: Sequence[Detections], classes: int
) -> AveragePrecision:
    """Returns the average precision of the detections in some images.

    Args:
      truths: one per image.
      detections: one per image, in the same order; pixels of the same image size.
      classes: number of classes.

    Raises:
      ValueError: there are not as many detections as truths.

    Examples:
      >>> truth = Truth(np.array([[0, 0, 10, 10]]), np.array([0]))
      >>> found = Detections(np.array([[0, 0, 10, 8]]), np.array([0.9]), np.array([0]))
      >>> average_precision([truth], [found], classes=1).ap50
      1.0
    """
    if len(truths) != len(detections):
        raise ValueError(
            f"each image has one truth and one set of detections. Received: {len(truths)} and "
            f"{len(detections)}"
        )
    # By area, [thresholds, recalls, classes].
    curves = {name: np.full((len(THRESHOLDS), len(RECALLS), classes), np.nan) for name in AREAS}
    for label in range(classes):
        images = [_Image(*pair, label) for pair in zip(truths, detections, strict=True)]
        for name, limits in AREAS.items():
            curves[name][:, :, label] = _precisions([image.match(limits) for image in images])
    whole = curves["all"]
    return AveragePrecision(
        ap=_mean(whole),
        ap50=_mean(whole[0]),
        ap75=_mean(whole[5]),
        **{name: _mean(curves[name]) for name in ("small", "medium", "large")},
        per_class=tuple(_mean(whole[:, :, label]) for label in range(classes)),
        per_class50=tuple(_mean(whole[0, :, label]) for label in range(classes)),
    )


def _mean(curve: np.ndarray) -> float | None:
    known = curve[~np.isnan(curve)]
    return float(known.mean()) if known.size else None


@dataclass(frozen=True)
class _Matches:
    """What became of one image's detections of a class, and how many boxes there were to find."""

    scores: np.ndarray  # [n]
    right: np.ndarray  # bool [thresholds, n]
    counted: np.ndarray  # bool [thresholds, n]: not ignored
    wanted: int


class _Image:
    """The boxes of one class in one image, and the detections of it, best first."""

    def __init__(self, truth: Truth, found: Detections, label: int):
        mine = np.asarray(truth.classes) == label
        boxes = np.asarray(truth.boxes, np.float64).reshape(-1, 4)[mine]
        self._crowds = _flags(truth.crowds, mine)
        self._ignored = _flags(truth.ignored, mine) | self._crowds
        self._areas = box.areas(boxes)
        if truth.areas is not None:
            self._areas = np.asarray(truth.areas, np.float64)[mine]
        theirs = np.flatnonzero(np.asarray(found.classes) == label)
        scores = np.asarray(found.scores, np.float64)[theirs]
        best = np.argsort(-scores, kind="stable")[:MOST]
        detected = np.asarray(found.boxes, np.float64).reshape(-1, 4)[theirs[best]]
        self._scores = scores[best]
        self._detected_areas = box.areas(detected)
        self._overlaps = box.iou(detected, boxes, self._crowds)

    def match(self, limits: tuple[float, float]) -> _Matches:
        """Gives each detection, best first, the box that it overlaps most, at each threshold."""
        low, high = limits
        ignored = self._ignored | (self._areas < low) | (self._areas > high)
        shape = (len(THRESHOLDS), len(self._scores))
        right, is_ignored = np.zeros(shape, bool), np.zeros(shape, bool)
        taken = np.zeros((len(THRESHOLDS), len(ignored)), bool)
        for index, overlaps in enumerate(self._overlaps if len(ignored) else ()):
            possible = (overlaps >= THRESHOLDS[:, None]) & (~taken | self._crowds)
            for row, chosen in _choices(possible, overlaps, ignored):
                taken[row, chosen] = True
                right[row, index] = True
                is_ignored[row, index] = ignored[chosen]
        outside = (self._detected_areas < low) | (self._detected_areas > high)
        is_ignored |= ~right & outside
        return _Matches(self._scores, right, ~is_ignored, int((~ignored).sum()))


def _flags(flags: np.ndarray | None, mine: np.ndarray) -> np.ndarray:
    return np.zeros(mine.sum(), bool) if flags is None else np.asarray(flags, bool)[mine]


def _choices(
    possible: np.ndarray, overlaps: np.ndarray, ignored: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Yields (threshold, box): that of the largest overlap, an ignored one only if need be."""
    for row in np.flatnonzero(possible.any(1)):
        wanted = possible[row] & ~ignored
        among = np.flatnonzero(wanted if wanted.any() else possible[row])
        # Of equal overlaps the last, as COCOeval does.
        yield row, among[::-1][overlaps[among[::-1]].argmax()]


def _precisions(matches: Sequence[_Matches]) -> np.ndarray:
    """Returns the precision at each recall, [thresholds, recalls]; NaN with no box to find."""
    wanted = sum(match.wanted for match in matches)
    curves = np.full((len(THRESHOLDS), len(RECALLS)), np.nan)
    if not wanted:
        return curves
    order = np.argsort(-np.concatenate([match.scores for match in matches]), kind="stable")
    right = np.concatenate([match.right & match.counted for match in matches], axis=1)[:, order]
    wrong = np.concatenate([~match.right & match.counted for match in matches], axis=1)[:, order]
    hits, misses = right.cumsum(1), wrong.cumsum(1)
    precision = hits / np.maximum(hits + misses, 1)
    # At a recall, the best precision of this recall or more.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    for row, recall in enumerate(hits / wanted):
        places = recall.searchsorted(RECALLS, side="left")
        reached = places < recall.size
        curves[row] = 0
        curves[row, reached] = precision[row, places[reached]]
    return curves
