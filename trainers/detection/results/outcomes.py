"""Which detections are right, and what is wrong with the others, at an IoU of one half.

`common.detection.average_precision` counts the same at ten thresholds; here each detection gets a
reason.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.detection.boxes import iou
from common.detection.nms import Detections
from trainers.detection.data.cleaning import ImageBoxes

_OVERLAP, _TOUCHES = 0.5, 0.1
RIGHT, IGNORED = "right", "ignored"
# What is wrong, as a reader sees it; {} is the class of the box that is there.
DUPLICATE, MISPLACED, OTHER, NOTHING = "found twice", "badly placed", "is {}", "nothing there"


class Outcome(NamedTuple):
    """What became of one detection.

    Attributes:
      image: number of the image in its set.
      index: of the detection in its image.
      label: its class's number.
      score: its score.
      kind: `RIGHT`, `IGNORED` (in a crowd or on a difficult box), or what is wrong.
    """

    image: int
    index: int
    label: int
    score: float
    kind: str


class Curve(NamedTuple):
    """How precision and recall depend on the score from which on a detection counts.

    Attributes:
      scores, precisions, recalls: float64 [n], the scores falling.
    """

    scores: np.ndarray
    precisions: np.ndarray
    recalls: np.ndarray

    def best(self) -> int | None:
        """Returns the place where the F1 score is largest; None without a right detection."""
        total = self.precisions + self.recalls
        f1 = np.divide(
            2 * self.precisions * self.recalls, total, np.zeros(len(total)), where=total > 0
        )
        return int(f1.argmax()) if len(f1) and f1.max() > 0 else None


def judge(number: int, found: Detections, truth: ImageBoxes, names: Sequence[str]) -> list[Outcome]:
    """Returns the outcome of each detection of an image, best first.

    Args:
      number: of the image.
      found: in pixels of the image.
      truth: its boxes.
      names: the class names.
    """
    overlaps = iou(found.boxes.reshape(-1, 4), truth.boxes, truth.crowds)
    ignored = truth.crowds | truth.difficult
    taken = np.zeros(len(truth.boxes), bool)
    outcomes = []
    for index, row in enumerate(overlaps):
        label = int(found.classes[index])
        mine = truth.classes == label
        free = np.where(mine & ~taken & ~ignored, row, 0.0)
        if free.size and free.max() >= _OVERLAP:
            taken[free.argmax()] = True
            kind = RIGHT
        else:
            kind = _mistake(row, mine, ignored, truth.classes, names)
        outcomes.append(Outcome(number, index, label, float(found.scores[index]), kind))
    return outcomes


def _mistake(
    overlaps: np.ndarray,
    mine: np.ndarray,
    ignored: np.ndarray,
    classes: np.ndarray,
    names: Sequence[str],
) -> str:
    """Returns what is wrong with a detection that finds no box."""

    def largest(chosen: np.ndarray) -> float:
        return float(overlaps[chosen].max(initial=0.0))

    if largest(mine & ignored) >= _OVERLAP:
        return IGNORED
    if largest(mine) >= _OVERLAP:
        return DUPLICATE
    if largest(~mine) >= _OVERLAP:
        return OTHER.format(names[classes[np.where(mine, 0.0, overlaps).argmax()]])
    return MISPLACED if largest(mine) >= _TOUCHES else NOTHING


def surest_mistakes(outcomes: Sequence[Outcome], most: int) -> list[Outcome]:
    """Returns the wrong detections with the highest scores, these first."""
    wrong = [one for one in outcomes if one.kind not in (RIGHT, IGNORED)]
    return sorted(wrong, key=lambda one: -one.score)[:most]


def curve(outcomes: Sequence[Outcome], wanted: int, label: int | None = None) -> Curve:
    """Returns precision and recall by score.

    Args:
      outcomes: of all images.
      wanted: how many boxes there are to find.
      label: of one class alone; None: of all.
    """
    counted = [
        (one.score, one.kind == RIGHT)
        for one in outcomes
        if one.kind != IGNORED and label in (None, one.label)
    ]
    counted.sort(key=lambda pair: -pair[0])
    scores = np.array([score for score, _ in counted])
    hits = np.cumsum([right for _, right in counted])
    return Curve(scores, hits / np.arange(1, len(hits) + 1), hits / max(wanted, 1))
