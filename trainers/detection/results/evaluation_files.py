"""Evaluates a detector on a split and writes what it finds: scores, detections, a page."""

import sys
from pathlib import Path

from common import files
from common.cli import UserError
from common.console.table import format_table
from common.pages import html_page
from trainers.data.class_names import read_labels
from trainers.data.datasets import print_notes
from trainers.data.pipeline import reading_errors
from trainers.detection.results.detector import Detector, detector_of_artifact, open_detector
from trainers.detection.results.page import write_scored
from trainers.detection.results.records import record_of
from trainers.detection.results.scored import HEADERS, Scored, score
from trainers.detection.task import open_sources
from trainers.prediction.evaluated import Evaluated

DETECTIONS, PAGE = "detections.json", "report.html"


def evaluate_detector(evaluated: Evaluated, split: str, output: Path) -> None:
    """Writes evaluation.json, detections.json and report.html to `output`.

    Args:
      evaluated: the detector and its data.
      split: of the data.
      output: an existing folder.

    Raises:
      UserError: as in `open_detector`, `detector_of_artifact` and `open_sets`, or an image cannot
        be decoded.
    """
    detector = _open(evaluated)
    config, path = evaluated.data, detector.path
    (source,) = open_sources(config, [split], evaluated.workdir, labels=detector.labels)
    print_notes(source, training=False)
    with reading_errors(config.place):
        scored = score(detector, source)
    about = {"model": str(path), "split": split}
    files.write_json(output / "evaluation.json", {**about, **scored.record})
    files.write_json(output / DETECTIONS, {"images": _records(scored)})
    _write_page(output, about, scored)
    print(format_table(list(HEADERS), scored.class_rows()))
    details, images = scored.scores.details, len(source.found.images)
    print(f"{path} on {images} images of {split}: {details}; more in {output}")


def _open(evaluated: Evaluated) -> Detector:
    model, training = evaluated.model, evaluated.training
    if training is None or evaluated.is_artifact:
        is_file = model.suffix == ".tflite"
        return detector_of_artifact(*((model.parent, model.name) if is_file else (model,)))
    path = model / "model.keras" if model.is_dir() else model
    return open_detector(path, training, read_labels(training.workdir))


def _records(scored: Scored) -> list[dict]:
    return [
        record_of(image.path, (image.width, image.height), one, scored.found.class_names)
        for image, one in zip(scored.found.images, scored.detections, strict=True)
    ]


def _write_page(output: Path, about: dict[str, str], scored: Scored) -> None:
    try:
        html_page.check_packages()
    # The scores do not need them.
    except UserError as error:
        print(f"warning: {output / PAGE} is not written: {error}", file=sys.stderr)
        return
    write_scored(output / PAGE, about, scored)
