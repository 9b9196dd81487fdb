"""Classifies images with a trained or converted model.

PATH is an image or a folder of images, at any depth. MODEL is a workdir (`shufflenet train`), a
.keras file in one, or an artifact (`shufflenet convert`); without it, an example that travels with
the package classifies. Files that cannot be read are named, and the others are classified; the exit
code is 1 only if no file could be read.

Example:
  shufflenet predict photo.jpg
  shufflenet predict --model=work photos/new holiday.jpg
  shufflenet predict --model=artifact --format=csv photos/new
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
from common.included import example_note, included_artifact
from common.manifest import MANIFEST
from trainers.config import CONFIG_FILE
from trainers.prediction.formats import FORMATS, Prediction
from trainers.prediction.images import find_images, read_images
from trainers.startup import import_tensorflow

if TYPE_CHECKING:
    from trainers.prediction.classifier import Classifier

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "A training's workdir, a .keras file or an artifact; default: an example that travels with the "
    "package.",
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
_TOP = flags.DEFINE_integer("top", 2, "How many classes to print for each image.")


@dataclass(frozen=True)
class _Config:
    """The command's flags; `workdir` is None for an artifact."""

    model: Path
    workdir: Path | None
    file: str | None
    format: str
    top: int


def main(paths: list[str]) -> None:
    """Reads the flags, classifies the images and prints the result."""
    config = _read_flags(paths)
    images = find_images(paths)
    # Only now, so that a wrong flag is reported without waiting seconds for TensorFlow.
    import_tensorflow()
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
    if _TOP.value < 1:
        raise UserError(f"--top must be at least 1; received {_TOP.value}")
    choose("format", [_FORMAT.value], FORMATS)
    model = Path(_MODEL.value) if _MODEL.value else included_artifact()
    workdir = _workdir(model)
    if workdir is not None and _FILE.value is not None:
        raise UserError(f"--file is for artifacts, but {model} is not one; leave it out")
    return _Config(model, workdir, _FILE.value, _FORMAT.value, _TOP.value)


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
