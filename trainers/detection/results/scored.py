"""A detector's results on a split: what it found in each image, what of it is right, the scores."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.detection.average_precision import AveragePrecision
from common.detection.nms import Detections
from trainers.detection.batches import BoxSource
from trainers.detection.data.dataset import DetectionSet
from trainers.detection.evaluation import found_in, precision_of
from trainers.detection.results.detector import Detector
from trainers.detection.results.outcomes import Curve, Outcome, curve, judge
from trainers.detection.scores import DetectionScores

HEADERS = ("class", "boxes", "AP", "AP50", "precision", "recall", "at score")
_NONE = "-"


@dataclass(frozen=True)
class Scored:
    """The results on a split.

    Attributes:
      found: the images with their boxes.
      detections: of each image, in its pixels.
      precision: average precision.
      outcomes: of all detections.
      curves: of all classes together, then of each.
    """

    found: DetectionSet
    detections: Sequence[Detections]
    precision: AveragePrecision
    outcomes: Sequence[Outcome]
    curves: Sequence[Curve]

    @property
    def scores(self) -> DetectionScores:
        """The scores, with the number of images."""
        return DetectionScores(self.precision, len(self.found.images))

    @functools.cached_property
    def record(self) -> dict[str, Any]:
        """The scores for JSON, of all classes together and of each."""
        every, *each = (_at_best(one) for one in self.curves)
        wanted = wanted_of(self.found)
        return {
            **self.scores.record(),
            "images": len(self.found.images),
            "best_f1": every,
            "classes": {
                name: {
                    "boxes": int(wanted[label]),
                    "ap": self.precision.per_class[label],
                    "ap50": self.precision.per_class50[label],
                    "best_f1": each[label],
                }
                for label, name in enumerate(self.found.class_names)
            },
        }

    def class_rows(self) -> list[list[str]]:
        """Returns a row for each class, below `HEADERS`; the last three at its best F1 score."""
        rows = []
        for name, one in self.record["classes"].items():
            shares = [_NONE if one[key] is None else f"{one[key]:.1%}" for key in ("ap", "ap50")]
            best, last = one["best_f1"], [_NONE] * 3
            if best is not None:
                last = [f"{best['precision']:.1%}", f"{best['recall']:.1%}", f"{best['score']:.2f}"]
            rows.append([name, f"{one['boxes']:,}", *shares, *last])
        return rows


def score(detector: Detector, source: BoxSource) -> Scored:
    """Runs a detector on all images of a split."""
    found = source.found
    detections = found_in(detector.detect, source, detector.settings)
    outcomes = [
        one
        for number, pair in enumerate(zip(detections, found.images, strict=True))
        for one in judge(number, *pair, found.class_names)
    ]
    wanted = wanted_of(found)
    curves = [curve(outcomes, int(count), label) for label, count in enumerate(wanted)]
    curves = [curve(outcomes, int(wanted.sum())), *curves]
    return Scored(found, detections, precision_of(detections, found), outcomes, curves)


def wanted_of(found: DetectionSet) -> np.ndarray:
    """Returns how many boxes of each class are to be found, without crowds and difficult ones."""
    classes = [x.classes[~(x.crowds | x.difficult)] for x in found.images]
    return np.bincount(np.concatenate(classes), minlength=len(found.class_names))


def _at_best(one: Curve) -> dict[str, float] | None:
    """Returns score, precision and recall where the F1 score is largest, or None."""
    place = one.best()
    if place is None:
        return None
    values = (one.scores[place], one.precisions[place], one.recalls[place])
    return dict(zip(("score", "precision", "recall"), map(float, values), strict=True))
