"""Photographs from a folder, as a model takes them, with their classes if the folder has them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.cli import UserError
from converters.source.network import Input
from trainers.data.folder import open_folder
from trainers.data.listing import SUFFIXES
from trainers.prediction.images import find_images, read_images

_TRAIN, _TEST = "train", "test"
_MOST_NAMED = 3


@dataclass(frozen=True)
class Photos:
    """Photographs with their classes.

    Attributes:
      images: uint8 [n, size, size, channels].
      labels: numbers of their classes, int32 [n]; None if the folder has no classes.
    """

    images: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class PhotoFolder:
    """A folder's photographs.

    Attributes:
      class_names: in the order of the labels; None if the folder has no classes.
      calibration: of the split "train", or of all.
      check: of the split "test"; None if there is none.
      photograph: how they became the images, for the manifest (docs/artifact.md).
    """

    class_names: tuple[str, ...] | None
    calibration: Photos
    check: Photos | None
    photograph: dict


def read_photos(
    root: Path,
    taken: Input,
    limit: int,
    class_names: Sequence[str] | None = None,
    crop_share: float = 1.0,
    names_file: Path | None = None,
) -> PhotoFolder:
    """Reads the photographs in ROOT/SPLIT/CLASS, ROOT/CLASS or ROOT.

    Args:
      root: the folder.
      taken: the model's input, squares of 1 or 3 channels.
      limit: the number of photographs of a split that are read at most.
      class_names: the model's classes in its order, among which are the folder's; None: the names
        of the folder's classes, sorted.
      crop_share: the share of a photograph's shorter side that the central square has.
      names_file: where `class_names` come from, for the message.

    Raises:
      UserError: the folder or the input cannot be used, or a class is unknown.
    """
    shape = taken.shape
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] not in (1, 3):
        raise UserError(
            f"input {taken.name!r} takes the shape {shape}, but photographs become squares of 1 or "
            "3 channels; give its examples with --inputs=FILE.npz"
        )
    resize_size = round(shape[0] / crop_share)
    photograph = {
        "channels": ["grey"] if shape[2] == 1 else ["red", "green", "blue"],
        "orientation": "exif",
        # As `trainers.data.images.crops.center_crop` does it.
        "resize": {"shorter_side": resize_size, "filter": "triangle", "antialias": True},
        "crop": "center",
        "crop_share": crop_share,
    }
    found = _splits(root)
    names = _names(found, class_names, root, names_file)
    read = [
        None if split is None else _read(split[:limit], names, resize_size, shape)
        for split in (found.calibration, found.check)
    ]
    return PhotoFolder(names, read[0], read[1], photograph)


@dataclass(frozen=True)
class _Found:
    """Paths with the names of their classes, in a random order."""

    calibration: list[tuple[str, str | None]]
    check: list[tuple[str, str | None]] | None


def _splits(root: Path) -> _Found:
    if not root.is_dir():
        raise UserError(f"image folder {root} does not exist; check --data_dir")
    order = np.random.default_rng(0).permutation
    if any(path.suffix.lower() in SUFFIXES for path in root.iterdir() if path.is_file()):
        paths, skipped = find_images([str(root)])
        if skipped:
            print(f"skipped in {root}: {skipped}", file=sys.stderr)
        return _Found([(str(paths[index]), None) for index in order(len(paths))], None)
    folder = open_folder(str(root))

    def examples(split: str) -> list[tuple[str, str]]:
        paths, labels = folder.examples(split)
        named = [
            (path, folder.class_names[label]) for path, label in zip(paths, labels, strict=True)
        ]
        return [named[index] for index in order(len(named))]

    # A test split that was only held out is no reason to check with a tenth of the images.
    if folder.listing.held_out is not None:
        return _Found(examples(f"{_TRAIN}+{_TEST}"), None)
    return _Found(examples(_TRAIN), examples(_TEST))


def _names(
    found: _Found, class_names: Sequence[str] | None, root: Path, names_file: Path | None
) -> tuple[str, ...] | None:
    of_folder = {name for _, name in (*found.calibration, *(found.check or ())) if name is not None}
    if class_names is None:
        return tuple(sorted(of_folder)) or None
    if unknown := sorted(of_folder - set(class_names)):
        raise UserError(
            f"image folder {root} has a class {unknown[0]!r} that {names_file} does not "
            "name; name it there, or another file with --labels, or move its images away"
        )
    return tuple(class_names)


def _read(
    examples: Sequence[tuple[str, str | None]],
    names: tuple[str, ...] | None,
    resize_size: int,
    shape: tuple[int, ...],
) -> Photos:
    numbers = {name: number for number, name in enumerate(names or ())}
    classes = dict(examples)
    images, labels, unreadable = [], [], []
    paths = [Path(path) for path, _ in examples]
    for batch in read_images(paths, resize_size, shape[0], shape[2]):
        for path, pixels in batch:
            if isinstance(pixels, str):
                unreadable.append(f"{path}: {pixels}")
            else:
                images.append(pixels)
                labels.append(numbers.get(classes[str(path)]))
    for line in unreadable[:_MOST_NAMED]:
        print(f"skipped {line}", file=sys.stderr)
    if len(unreadable) > _MOST_NAMED:
        print(f"skipped {len(unreadable) - _MOST_NAMED} more files", file=sys.stderr)
    if not images:
        raise UserError(f"none of {len(paths)} images can be read; check --data_dir")
    known = None not in labels
    return Photos(np.stack(images), np.array(labels, np.int32) if known else None)
