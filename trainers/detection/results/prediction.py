"""Finds objects in files of images, draws them, and writes them as JSON."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from common import files
from common.cli import UserError
from common.storage.readers import read_json
from trainers.config import TrainConfig
from trainers.data.class_names import read_labels
from trainers.data.images.decoding import decode
from trainers.detection.batches import as_on_devices
from trainers.detection.evaluation import in_pixels
from trainers.detection.results.detector import (
    Detector,
    detector_of_artifact,
    open_detector,
)
from trainers.detection.results.drawing import draw, is_drawn, load_image, save_jpeg
from trainers.detection.results.records import FORMATS, as_json, record_of
from trainers.prediction.images import read_files

DETECTIONS = "detections.json"
_KEYS = {"images", "unreadable"}
_JPEGS = (".jpg", ".jpeg")


def predict_boxes(
    model: Path,
    workdir: Path | None,
    images: Sequence[Path],
    output: Path,
    score: float,
    form: str,
    file: str | None = None,
) -> None:
    """Writes each image with its boxes, and detections.json, to `output`; prints the boxes.

    Args:
      model: a workdir, a `.keras` or `.tflite` file, or an artifact.
      workdir: of the training that the model comes from; None: it is an artifact.
      images: files.
      output: a folder; created if it is missing.
      score: a lower score is no detection.
      form: what is printed, a key of `records.FORMATS`.
      file: name of an artifact's `.tflite` file; None: its best for a device.

    Raises:
      UserError: the model cannot be used, no file can be read, or something would be replaced that
        no earlier prediction wrote.
    """
    pictures = _pictures(images, output)
    _check_replaced(output, pictures)
    detector = _open(model, workdir, file)
    print(f"{detector.path}: {len(detector.labels)} classes", file=sys.stderr)
    unreadable: dict[str, str] = {}
    records = list(_predict(detector, images, pictures, score, unreadable))
    for name, reason in unreadable.items():
        print(f"warning: {name} cannot be read: {reason}", file=sys.stderr)
    if not records:
        raise UserError(f"none of the {len(images)} files can be read; name images")
    output.mkdir(parents=True, exist_ok=True)
    files.write_text(output / DETECTIONS, as_json(records, unreadable) + "\n")
    print(FORMATS[form](records, unreadable))
    print(f"{len(records)} images with boxes, and {DETECTIONS}, are in {output}", file=sys.stderr)


def _open(model: Path, workdir: Path | None, file: str | None) -> Detector:
    if workdir is not None:
        path = model / "model.keras" if model.is_dir() else model
        return open_detector(path, TrainConfig.load(workdir), read_labels(workdir))
    if model.suffix == ".tflite":
        model, file = model.parent, model.name
    return detector_of_artifact(model, file)


def _pictures(images: Sequence[Path], output: Path) -> dict[Path, Path]:
    """Returns the file of each image's picture: below `output` as the images are below theirs.

    Raises:
      UserError: it would replace one of the images.
    """
    whole = [path.absolute() for path in images]
    root = Path(os.path.commonpath([path.parent for path in whole]))
    pictures = {}
    for path, absolute in zip(images, whole, strict=True):
        place = output / absolute.relative_to(root)
        is_jpeg = place.suffix.lower() in _JPEGS
        pictures[path] = place if is_jpeg else place.with_name(f"{place.name}.jpg")
    sources = {path.resolve() for path in whole}
    for picture in pictures.values():
        if picture.resolve() in sources:
            raise UserError(f"{picture} would be replaced by a picture; name another --output")
    return pictures


def _check_replaced(output: Path, pictures: dict[Path, Path]) -> None:
    """Raises UserError for a file in the way that is not of an earlier prediction."""
    places = sorted(set(pictures.values()))
    if len(places) < len(pictures):
        twice = next(place for place, count in Counter(pictures.values()).items() if count > 1)
        raise UserError(f"two of the images would be drawn into {twice}; rename one of them")
    foreign = [place for place in places if os.path.lexists(place) and not is_drawn(place)]
    records = output / DETECTIONS
    if os.path.lexists(records) and not _is_prediction(records):
        foreign.append(records)
    if foreign:
        more = f" and {len(foreign) - 1} others" if len(foreign) > 1 else ""
        raise UserError(
            f"{foreign[0]}{more} would be replaced, but no prediction has written it; name another "
            "--output, or move it away"
        )


def _is_prediction(path: Path) -> bool:
    try:
        content = read_json(path, "delete it")
    except (UserError, OSError):
        return False
    return isinstance(content, dict) and set(content) == _KEYS


def _predict(
    detector: Detector,
    images: Sequence[Path],
    pictures: dict[Path, Path],
    score: float,
    unreadable: dict[str, str],
) -> Iterator[dict]:
    """Yields the records, and adds the files that cannot be read with the reasons."""
    settings = detector.settings

    def transform(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = decode(data, settings.channels)
        return as_on_devices(pixels, settings.size), tf.shape(pixels)[:2]

    for batch in read_files(images, transform):
        unreadable.update((str(path), why) for path, why in batch if isinstance(why, str))
        good = [(path, *read) for path, read in batch if not isinstance(read, str)]
        if not good:
            continue
        inputs = np.stack([pixels for _, pixels, _ in good])
        detections = detector.detect(inputs, score=score)
        for (path, _, (height, width)), found in zip(good, detections, strict=True):
            size = int(width), int(height)
            found = in_pixels(found, size, settings.size)
            found = found._replace(boxes=np.clip(found.boxes, 0, [*size, *size]))
            save_jpeg(draw(load_image(path), found, detector.labels), pictures[path])
            yield record_of(str(path), size, found, detector.labels)
