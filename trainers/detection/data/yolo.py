"""Reads boxes from YOLO's text files, one a line: class, centre x and y, width, height; shares."""

import math
from collections import Counter
from pathlib import Path

from common.cli import UserError
from common.storage.readers import read_lines
from trainers.data.listing import SUFFIXES, is_hidden
from trainers.detection.data.annotations import Annotated, Annotations, Box, check_names

_REMEDY = "write one class name a line"
_NAMES = ("classes.txt", "labels.txt", "obj.names")
_FIELDS = 5
# As Ultralytics's and Roboflow's exports, and as Darknet's.
_PLACES = (("images/{split}", "labels/{split}"), ("{split}/images", "{split}/labels"))


def find(root: Path, split: str) -> tuple[Path, Path] | None:
    """Returns the folders of a split's images and labels, or None."""
    for images, labels in _PLACES:
        pair = root / images.format(split=split), root / labels.format(split=split)
        if all(folder.is_dir() for folder in pair):
            return pair
    return None


def read(root: Path, split: str) -> Annotations:
    """Reads a split: ROOT/images/SPLIT with ROOT/labels/SPLIT, or ROOT/SPLIT/images and labels.

    An image without a text file has no box. The names of the classes are in ROOT/classes.txt, one
    a line.

    Raises:
      UserError: there are no names, or two are the same.
    """
    images, labels = find(root, split)
    names = _names(root)
    found, skipped = [], Counter()
    for path in sorted(images.iterdir()):
        if path.suffix.lower() not in SUFFIXES or is_hidden(path.name):
            continue
        image = Annotated(str(path), None, relative=True)
        text = labels / f"{path.stem}.txt"
        if text.is_file():
            for line in read_lines(text, "export it again"):
                _add(image, line.split(), names, skipped)
        found.append(image)
    stems = {Path(image.path).stem for image in found}
    extra = [text for text in labels.glob("*.txt") if text.stem not in stems]
    skipped["annotation of a missing image"] += sum(text.name not in _NAMES for text in extra)
    return Annotations(found, names, +skipped)


def _add(image: Annotated, fields: list[str], names: tuple[str, ...], skipped: Counter) -> None:
    if not fields:
        return
    if len(fields) > _FIELDS:
        # An outline has a box, but a line of six may also be a box with its score.
        skipped["line with more than a box (an outline?)"] += 1
        return
    try:
        label, (x, y, width, height) = int(fields[0]), map(float, fields[1:])
    except ValueError:
        skipped["line that is no box"] += 1
        return
    name = names[label] if 0 <= label < len(names) else None
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    # Pixels instead of shares would all be cut to nothing.
    if all(map(math.isfinite, corners)) and max(x, y) > 2:
        skipped["box in pixels instead of shares"] += 1
        return
    image.boxes.append(Box(name, corners))


def _names(root: Path) -> tuple[str, ...]:
    for name in _NAMES:
        if (root / name).is_file():
            lines = read_lines(root / name, _REMEDY)
            return check_names([line.strip() for line in lines if line.strip()], root / name)
    raise UserError(
        f"{root} has no names of its classes; write them to {root / _NAMES[0]}, one a line, in "
        "the order of their numbers (`names` in data.yaml)"
    )
