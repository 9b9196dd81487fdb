"""Classifies images with a trained or converted model, or finds objects in them.

PATH is an image or a folder of images, at any depth. MODEL is a workdir (`shufflenet train`), a
.keras file in one, or an artifact (`shufflenet convert`); two travel with the package as examples:
cifar10 (the default), and bccd, a detector. Files that cannot be read are named, and the others are
classified; the exit code is 1 only if no file could be read. With a detector, the images with their
boxes drawn, and detections.json, are written to --output.

Example:
  shufflenet predict photo.jpg
  shufflenet predict --model=work photos/new holiday.jpg
  shufflenet predict --model=artifact --format=csv photos/new
  shufflenet predict --model=detector --output=found photos/new
  shufflenet predict --model=bccd photos/blood
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from common import cli
from common.choices import choose
from common.cli import UserError
from common.included import example_note, find_artifact
from common.manifest import DETECTION, MANIFEST, read_manifest
from trainers.config import CONFIG_FILE, TrainConfig
from trainers.prediction.formats import FORMATS, Prediction
from trainers.prediction.images import find_images, read_images
from trainers.startup import import_tensorflow

if TYPE_CHECKING:
    from trainers.prediction.classifier import Classifier

_DEFAULT_TOP, _DEFAULT_SCORE = 2, 0.3

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "A training's workdir, a .keras file or an artifact, or an example that travels with the "
    "package: cifar10 (the default), or bccd, a detector.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The training that a .keras file comes from; default: the file's folder."
)
_FILE = flags.DEFINE_string(
    "file",
    None,
    "The artifact's .tflite file to use; default: int8 of the deployment graph if there is one.",
)
_FORMAT = flags.DEFINE_string("format", "table", f"What to print: {', '.join(FORMATS)}.")
_TOP = flags.DEFINE_integer(
    "top", None, f"How many classes to print for each image (default: {_DEFAULT_TOP})."
)
_SCORE = flags.DEFINE_float(
    "score",
    None,
    f"A detector's boxes of a lower score, 0 to 1, are left out (default: {_DEFAULT_SCORE}).",
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder for a detector's pictures (default: predictions, in the workdir or, with an artifact, "
    "in the current folder).",
)


@dataclass(frozen=True)
class _Config:
    """The command's flags; `workdir` is None for an artifact, `output` for a classifier."""

    model: Path
    workdir: Path | None
    file: str | None
    format: str
    top: int
    score: float
    output: Path | None


def main(paths: list[str]) -> None:
    """Reads the flags, classifies the images and prints the result."""
    config = _read_flags(paths)
    images, skipped = find_images(paths)
    if skipped:
        print(f"skipped: {skipped}", file=sys.stderr)
    # Only now, so that a wrong flag is reported without waiting seconds for TensorFlow.
    import_tensorflow()
    if config.output is not None:
        from trainers.detection.results.prediction import predict_boxes

        settings = (config.output, config.score, config.format)
        predict_boxes(config.model, config.workdir, images, *settings, config.file)
        return
    from trainers.prediction.classifier import open_classifier

    classifier = open_classifier(config.model, config.workdir, config.file)
    print(f"{classifier.network.path}: {len(classifier.labels)} classes", file=sys.stderr)
    if not _MODEL.value:
        print(example_note("--model"), file=sys.stderr)
    unreadable: dict[str, str] = {}
    predictions = list(_predict(classifier, images, config.top, unreadable))
    for name, reason in unreadable.items():
        print(f"warning: {name} cannot be read: {reason}", file=sys.stderr)
    if not predictions:
        raise UserError(f"none of the {len(images)} files can be read; name images")
    print(FORMATS[config.format](predictions, unreadable))


def entry_point() -> None:
    """Runs the command."""
    cli.run_with_files(main)


def _read_flags(paths: list[str]) -> _Config:
    if not paths:
        raise UserError("no image is named; shufflenet predict [--model=MODEL] PATH…")
    top = _DEFAULT_TOP if _TOP.value is None else _TOP.value
    if top < 1:
        raise UserError(f"--top must be at least 1; received {top}")
    score = _DEFAULT_SCORE if _SCORE.value is None else _SCORE.value
    if not 0 < score < 1:
        raise UserError(f"--score must be between 0 and 1; received {score}")
    choose("format", [_FORMAT.value], FORMATS)
    model = find_artifact(_MODEL.value)
    workdir = _workdir(model)
    if workdir is not None and _FILE.value is not None:
        raise UserError(f"--file is for artifacts, but {model} is not one; leave it out")
    output = _output(model, workdir)
    return _Config(model, workdir, _FILE.value, _FORMAT.value, top, score, output)


def _output(model: Path, workdir: Path | None) -> Path | None:
    """Returns where a detector's pictures go; None for a classifier."""
    if not _is_detector(model, workdir):
        for flag in (_SCORE, _OUTPUT):
            if flag.value is not None:
                raise UserError(f"--{flag.name} is for detectors; leave it out")
        return None
    if _TOP.value is not None:
        raise UserError("--top is for classifiers; leave it out")
    return Path(_OUTPUT.value) if _OUTPUT.value else (workdir or Path()) / "predictions"


def _is_detector(model: Path, workdir: Path | None) -> bool:
    if workdir is not None:
        return TrainConfig.load(workdir).detection.is_detection
    return read_manifest(model if model.is_dir() else model.parent)["task"] == DETECTION


def _workdir(model: Path) -> Path | None:
    """Returns the training's folder, or None for an artifact."""
    folder = model if model.is_dir() else model.parent
    if not model.exists():
        raise UserError(f"{model} does not exist; check --model")
    if (folder / MANIFEST).exists() and (model == folder or model.suffix == ".tflite"):
        return None
    if _WORKDIR.value:
        return Path(_WORKDIR.value)
    if not (folder / CONFIG_FILE).exists():
        raise UserError(
            f"{model} is not a workdir, a .keras file in one, or an artifact; name one of them, or "
            "the file's training with --workdir"
        )
    return folder


def _predict(
    classifier: "Classifier", images: list[Path], top: int, unreadable: dict[str, str]
) -> Iterator[Prediction]:
    """Yields the predictions, and adds the files that cannot be read with the reasons."""
    import numpy as np

    size = classifier.resize_size, classifier.input_size, classifier.channels
    for batch in read_images(images, *size):
        unreadable.update((str(path), why) for path, why in batch if isinstance(why, str))
        good = [(path, image) for path, image in batch if not isinstance(image, str)]
        if not good:
            continue
        shares = classifier.probabilities(np.stack([image for _, image in good]))
        for (path, _), share in zip(good, shares, strict=True):
            if not np.isfinite(share).all():
                raise UserError(f"{classifier.network.path} gives NaN for {path}; train it again")
            best = np.argsort(-share, kind="stable")[:top]
            yield Prediction(str(path), [(classifier.labels[i], float(share[i])) for i in best])


if __name__ == "__main__":
    entry_point()
