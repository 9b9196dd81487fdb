"""Lists the files of an image folder: what counts as an image, and what is skipped, by kind."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.cli import UserError

# What TensorFlow decodes; the case of the letters does not matter.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp")
_LAYOUT = (
    "expected ROOT/SPLIT/CLASS/*.jpg, such as ROOT/train/cat/1.jpg, or ROOT/CLASS/*.jpg; images "
    f"are {' '.join(SUFFIXES)}"
)
# What archives of macOS hold besides; hidden folders otherwise begin with a dot.
_MACOSX = "__MACOSX"
_IMAGE, _FOLDER = "image", "folder"
# One of so many images is held out.
_SHARE = 10
_SUFFIX = re.compile(r"\.[a-z0-9_]{1,12}")
_MAX_KINDS = 10

# The paths of a split's images, by class.
Classes = dict[str, list[str]]


@dataclass(frozen=True)
class Listing:
    """The images of an image folder.

    Attributes:
      root: the folder.
      splits: the images of the splits in use, sorted.
      names: the names of all splits.
      skipped: how many things were not taken, by kind.
      held_out: the split whose images were taken from the other one, or None.
    """

    root: str
    splits: dict[str, Classes]
    names: tuple[str, ...]
    skipped: Counter[str]
    held_out: str | None = None

    def notes(self) -> list[str]:
        """Returns lines about what was skipped and what was held out."""
        lines = []
        if self.skipped:
            lines.append(f"skipped in {self.root}: {_counted(self.skipped)}")
        if self.held_out is not None:
            held, total = _count(self.splits[self.held_out]), sum(map(_count, self.splits.values()))
            lines.append(
                f"{self.root} has no split {self.held_out!r}: {held} of its {total} images, chosen "
                "by their names, are held out for it"
            )
        return lines


def list_splits(root: str, used: Sequence[str], train: str, test: str) -> Listing:
    """Lists the images of the splits in use.

    If there is only the folder of `train`, or no folder of a split at all (ROOT/CLASS/*.jpg), a
    tenth of the images is held out for the split `test`.

    Args:
      root: of the image folder.
      used: names of splits.
      train, test: names of the training's and the evaluation's split.

    Raises:
      UserError: there are no images, or a class has too few to hold one out.
    """
    skipped: Counter[str] = Counter()
    entries = _entries(root, skipped)
    folders = {name: path for name, path, kind in entries if kind == _FOLDER}
    splits = [name for name, path in folders.items() if _has(_FOLDER, path)]
    is_plain = not {*used, train, test}.intersection(folders) and any(
        _has(_IMAGE, path) for path in folders.values()
    )
    places = {name: path for name, path in folders.items() if name in used}
    if is_plain:
        places = {train: root}
    if is_plain:
        # The root is counted as the folder of the one split.
        skipped.clear()
    found = {name: _classes(place, skipped) for name, place in places.items()}
    listing = Listing(root, found, tuple(found if is_plain else splits), skipped)
    if test != train and (is_plain or splits == [train]):
        rest, held = _divide(places[train], found[train])
        listing = Listing(root, {train: rest, test: held}, (train, test), skipped, held_out=test)
    if not folders and entries:
        raise UserError(
            f"{len(entries)} images lie directly in {root}; put them into a folder for each class: "
            f"{root}/CLASS/*.jpg"
        )
    if not any(map(_count, listing.splits.values())) and (listing.splits or not splits):
        others = f", but {_counted(skipped)}" if skipped else ""
        raise UserError(f"image folder {root} has no images{others}; {_LAYOUT}")
    return listing


def describe(split: str, counts: dict[str, int]) -> str:
    """Returns a line with the number of a split's images, and of each class.

    Examples:
      >>> describe("train", {"cat": 205, "dog": 207})
      'train: 412 images in 2 classes (cat 205, dog 207)'
    """
    each = ", ".join(f"{name} {count}" for name, count in counts.items())
    if len(counts) > 2 * _SHARE:
        each = f"{min(counts.values())} to {max(counts.values())} each"
    return f"{split}: {sum(counts.values())} images in {len(counts)} classes ({each})"


def _count(classes: Classes) -> int:
    return sum(map(len, classes.values()))


def _counted(kinds: Counter[str]) -> str:
    shown = [
        f"{count} {kind}{'s' * (count > 1 and not kind.startswith('.'))}"
        for kind, count in kinds.most_common(_MAX_KINDS)
    ]
    rest = kinds.total() - sum(count for _, count in kinds.most_common(_MAX_KINDS))
    return ", ".join([*shown, f"{rest} of other kinds"] if rest else shown)


def _classes(folder: str, skipped: Counter[str]) -> Classes:
    """Returns the images in each subfolder of a split, and in its subfolders."""
    found = {}
    above = frozenset(map(_identity, (folder, *Path(folder).resolve().parents)))
    for name, path, kind in _entries(folder, skipped):
        if kind == _FOLDER:
            found[name] = sorted(_walk(path, skipped, above))
        else:
            skipped["stray image"] += 1
    return found


def _walk(folder: str, skipped: Counter[str], above: frozenset) -> Iterator[str]:
    here = _identity(folder)
    if here in above:
        skipped["circular link"] += 1
        return
    for _, path, kind in _entries(folder, skipped):
        if kind == _IMAGE:
            yield path
        else:
            yield from _walk(path, skipped, above | {here})


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116
    return status.st_dev, status.st_ino


def _entries(folder: str, skipped: Counter[str]) -> list[tuple[str, str, str]]:
    """Returns name, path and kind of the images and folders in a folder; counts all others."""
    try:
        # It knows the kinds of most files without asking for each.
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.path, _kind(entry)) for entry in entries)
    except PermissionError:
        skipped["unreadable folder"] += 1
        return []
    skipped.update(kind for *_, kind in found if kind not in (_IMAGE, _FOLDER))
    return [entry for entry in found if entry[-1] in (_IMAGE, _FOLDER)]


def _has(kind: str, folder: str) -> bool:
    return any(found == kind for *_, found in _entries(folder, Counter()))


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder of this name is not meant to be seen."""
    return name.startswith(".") or name == _MACOSX


def _kind(entry: os.DirEntry) -> str:
    """Returns image, folder, or what is skipped; nothing is opened."""
    hidden = is_hidden(entry.name)
    try:
        if entry.is_dir():
            return "hidden folder" if hidden else _FOLDER
        is_file = entry.is_file()
    except OSError:  # a link to itself
        is_file = False
    if not is_file:
        # For example a FIFO, which would be waited for.
        is_broken = entry.is_symlink() and not Path(entry.path).exists()
        return "broken link" if is_broken else "special file"
    if hidden:
        return "hidden file"
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
    if suffix in SUFFIXES:
        return _IMAGE
    # Others are parts of a name, and may hold anything.
    return suffix if _SUFFIX.fullmatch(suffix) else "unsuffixed file"


def _divide(folder: str, classes: Classes) -> tuple[Classes, Classes]:
    """Returns what remains of each class, and what is held out of it: at least one image of each.

    A file's name decides, so the same files are held out when others are added.

    Raises:
      UserError: a class has one image only.
    """
    rest, held = {}, {}
    for name, paths in classes.items():
        if len(paths) == 1:
            raise UserError(
                f"class {name!r} in {folder} has one image only, so none can be held out for "
                "evaluation; add another one"
            )
        numbers = {path: _number(os.path.relpath(path, folder)) for path in paths}
        order = sorted(paths, key=numbers.__getitem__)
        limit = sum(number < 1 / _SHARE for number in numbers.values())
        chosen = set(order[: max(1, min(limit, len(order) - 1))])
        rest[name] = [path for path in paths if path not in chosen]
        held[name] = [path for path in paths if path in chosen]
    return rest, held


def _number(name: str) -> float:
    """Returns a number from 0 to 1 that depends on the name alone."""
    name = name.replace(os.sep, "/")
    digest = hashlib.sha256(os.fsencode(name)).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
