"""Evaluates a detector on a split and writes what it finds: scores, detections, a page."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.cli import UserError
from common.detection.average_precision import AveragePrecision
from common.detection.nms import Detections
from common.pages import html_page
from common.table import format_table
from trainers.config import TrainConfig
from trainers.data.datasets import print_notes
from trainers.detection.batches import box_source, evaluation_images
from trainers.detection.data.dataset import DetectionSet
from trainers.detection.evaluation import in_image, precision_of
from trainers.detection.results.detector import Detector, open_detector
from trainers.detection.results.outcomes import Curve, Outcome, curve, judge
from trainers.detection.results.records import record_of
from trainers.detection.scores import DetectionScores
from trainers.detection.task import open_sources

DETECTIONS, PAGE = "detections.json", "report.html"


def evaluate_detector(
    path: Path, config: TrainConfig, labels: Sequence[str], split: str, output: Path
) -> None:
    """Writes evaluation.json, detections.json and report.html to `output`.

    Args:
      path: a `.keras` or `.tflite` file.
      config: of the training that it comes from.
      labels: the training's class names.
      split: of the training's data.
      output: an existing folder.

    Raises:
      UserError: as in `open_detector` and `open_sets`.
    """
    detector = open_detector(path, config, labels)
    (source,) = open_sources(config.data, [split], labels=labels)
    print_notes(source, training=False)
    found = _find(detector, source.found)
    precision = precision_of(found, source.found)
    outcomes = [
        one
        for number, pair in enumerate(zip(found, source.found.images, strict=True))
        for one in judge(number, *pair, labels)
    ]
    curves = _curves(outcomes, source.found)
    about = {"model": str(path), "split": split}
    scores = DetectionScores(precision, len(source.found.images))
    record = {**about, **_record(scores, curves, source.found)}
    files.write_json(output / "evaluation.json", record)
    images = zip(source.found.images, found, strict=True)
    files.write_json(
        output / DETECTIONS,
        {"images": [record_of(x.path, (x.width, x.height), one, labels) for x, one in images]},
    )
    _write_page(output, about, scores, source.found, found, outcomes, curves)
    print(class_table(precision, source.found, curves))
    print(f"{path} on {scores.images} images of {split}: {scores.details}; more in {output}")


def _find(detector: Detector, found: DetectionSet) -> list[Detections]:
    batches = evaluation_images(detector.settings, box_source(found, detector.settings.channels))
    detections = [one for batch in batches.as_numpy_iterator() for one in detector.detect(batch)]
    size = detector.settings.size
    return [
        in_image(one, image, *size) for one, image in zip(detections, found.images, strict=True)
    ]


def _curves(outcomes: Sequence[Outcome], found: DetectionSet) -> list[Curve]:
    """Returns the curve of all classes together, then that of each."""
    wanted = _wanted(found)
    each = [curve(outcomes, int(count), label) for label, count in enumerate(wanted)]
    return [curve(outcomes, int(wanted.sum())), *each]


def _wanted(found: DetectionSet) -> np.ndarray:
    """Returns how many boxes of each class are to be found, without crowds and difficult ones."""
    classes = [x.classes[~(x.crowds | x.difficult)] for x in found.images]
    return np.bincount(np.concatenate(classes), minlength=len(found.class_names))


def _record(
    scores: DetectionScores, curves: Sequence[Curve], found: DetectionSet
) -> dict[str, Any]:
    every, *each = (_at_best(one) for one in curves)
    precision, wanted = scores.precision, _wanted(found)
    return {
        **scores.record(),
        "images": scores.images,
        "best_f1": every,
        "classes": {
            name: {
                "boxes": int(wanted[label]),
                "ap": precision.per_class[label],
                "ap50": precision.per_class50[label],
                "best_f1": each[label],
            }
            for label, name in enumerate(found.class_names)
        },
    }


def _at_best(one: Curve) -> dict[str, float] | None:
    """Returns score, precision and recall where the F1 score is largest, or None."""
    place = one.best()
    if place is None:
        return None
    values = (one.scores[place], one.precisions[place], one.recalls[place])
    return dict(zip(("score", "precision", "recall"), map(float, values), strict=True))


def class_table(precision: AveragePrecision, found: DetectionSet, curves: Sequence[Curve]) -> str:
    """Returns a line for each class: boxes, AP, AP50, and precision and recall at its best F1."""
    headers = ["class", "boxes", "AP", "AP50", "precision", "recall", "at score"]
    return format_table(headers, class_rows(precision, found, curves))


def class_rows(
    precision: AveragePrecision, found: DetectionSet, curves: Sequence[Curve]
) -> list[list[str]]:
    """Returns the rows of `class_table`."""
    rows, wanted = [], _wanted(found)
    for label, name in enumerate(found.class_names):
        best = _at_best(curves[1 + label])
        shares = (precision.per_class[label], precision.per_class50[label])
        cells = ["-" if share is None else f"{share:.1%}" for share in shares]
        last = ["-"] * 3
        if best is not None:
            last = [f"{best['precision']:.1%}", f"{best['recall']:.1%}", f"{best['score']:.2f}"]
        rows.append([name, f"{wanted[label]:,}", *cells, *last])
    return rows


def _write_page(
    output: Path,
    about: dict[str, str],
    scores: DetectionScores,
    found: DetectionSet,
    detections: Sequence[Detections],
    outcomes: Sequence[Outcome],
    curves: Sequence[Curve],
) -> None:
    from trainers.detection.results.page import write_detections

    try:
        html_page.check_packages()
    # The scores do not need them.
    except UserError as error:
        print(f"warning: {output / PAGE} is not written: {error}", file=sys.stderr)
        return
    rows = class_rows(scores.precision, found, curves)
    write_detections(output / PAGE, about, scores, rows, found, detections, outcomes, curves)
