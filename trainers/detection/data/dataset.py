"""Data sets of boxes: one form for all formats, without what cannot be learnt from."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from common.cli import UserError
from trainers.data.class_names import check_lines, difference, short
from trainers.data.listing import SUFFIXES
from trainers.detection.data import coco, voc, yolo
from trainers.detection.data.annotations import Annotated, Annotations
from trainers.detection.data.cleaning import ImageBoxes, check_header, cleaned
from trainers.detection.data.headers import Header

_FORMATS: tuple[ModuleType, ...] = (coco, voc, yolo)
_LAYOUT = (
    "expected COCO (ROOT/SPLIT.json and ROOT/images), Pascal VOC (ROOT/ImageSets/Main/SPLIT.txt, "
    "Annotations and JPEGImages) or YOLO (ROOT/images/SPLIT, ROOT/labels/SPLIT and classes.txt)"
)
_MOST_CLASSES_SHOWN = 20
# From a split's name and its images to the paths of those that cannot be used.
FindBad = Callable[[str, Sequence[Annotated]], Collection[str]]


@dataclass(frozen=True)
class DetectionSet:
    """The images of one split with their boxes.

    Attributes:
      split: its name.
      class_names: in the order of the classes' numbers.
      images: in the file's order.
      skipped: how many boxes and images were kept out, by kind.
      notes: lines that a user should see before a training.
    """

    split: str
    class_names: tuple[str, ...]
    images: tuple[ImageBoxes, ...]
    skipped: Counter[str]
    notes: tuple[str, ...]

    def counts(self) -> np.ndarray:
        """Returns the number of boxes of each class, int64 [classes]."""
        classes = [image.classes for image in self.images] or [np.zeros(0, np.int32)]
        return np.bincount(np.concatenate(classes), minlength=len(self.class_names))


def open_sets(
    root: str | Path,
    splits: Sequence[str],
    labels: Sequence[str] | None = None,
    find_bad: FindBad = lambda split, images: (),
) -> list[DetectionSet]:
    """Reads splits of a data set in COCO's, Pascal VOC's or YOLO's format.

    The numbers of the classes are by name, the same in all splits.

    Args:
      root: folder of the data set.
      splits: such as ["train", "val"].
      labels: the class names that the data must have, those of a model, in the model's order; None:
        any, in the order of the first split's file.
      find_bad: finds files that cannot be decoded; by default only their headers are read.

    Raises:
      UserError: there is no such folder or split, a file cannot be read, classes differ or have the
        same name, or a split has no box that can be used.

    Examples:
      >>> train, val = open_sets("bccd", ["train", "val"])
      >>> train.class_names
      ('RBC', 'WBC', 'Platelets')
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"the data set {root} does not exist; check --data_dir")
    read = {split: _read(root, split) for split in splits}
    names = _class_names(root, read)
    check_lines(names, root)
    if labels is not None:
        if set(labels) != set(names):
            raise UserError(
                f"the data set {root} has other classes than the model: "
                f"{difference(names, labels)}; name the data that it was trained for"
            )
        names = tuple(labels)
    return [_checked(root, split, read[split], names, find_bad) for split in splits]


def _read(root: Path, split: str) -> Annotations:
    for module in _FORMATS:
        if module.find(root, split):
            return module.read(root, split)
    if _has_classes_alone(root, split):
        raise UserError(
            f"{root} has folders of images, one a class, but no boxes; train a classifier on it "
            "(--recipe=folder), or add boxes"
        )
    raise UserError(
        f"{root} has no split {split!r}; {_LAYOUT}; or name another (--split, or in a training "
        "--train_split, --eval_split)"
    )


def _has_classes_alone(root: Path, split: str) -> bool:
    """Returns whether a folder is laid out as for a classifier, ROOT/SPLIT/CLASS or ROOT/CLASS."""
    place = root / split if (root / split).is_dir() else root
    folders = [path for path in place.iterdir() if path.is_dir()]
    holding = [
        path
        for path in folders
        if any(one.name.lower().endswith(SUFFIXES) for one in path.iterdir())
    ]
    return len(holding) > 1


def _class_names(root: Path, read: dict[str, Annotations]) -> tuple[str, ...]:
    listed = {split: found.names for split, found in read.items() if found.names is not None}
    if not listed:
        boxes = (box for found in read.values() for image in found.images for box in image.boxes)
        return tuple(sorted({box.name for box in boxes if box.name}))
    first, names = next(iter(listed.items()))
    for split, others in listed.items():
        if set(others) != set(names):
            raise UserError(
                f"split {split!r} of {root} has other classes than {first!r}: "
                f"{difference(others, names)}; give all splits the same classes"
            )
    return names


def _checked(
    root: Path, split: str, found: Annotations, names: tuple[str, ...], find_bad: FindBad
) -> DetectionSet:
    """Returns the split without what cannot be used."""
    numbers = {name: number for number, name in enumerate(names)}
    skipped, changed = Counter(found.skipped), Counter()
    usable, lost = _usable(found, skipped)
    bad = set(find_bad(split, [annotated for annotated, _ in usable.values()]))
    skipped.update(["image that cannot be decoded"] * len(bad))
    lost += sorted(bad)
    images = [
        cleaned(annotated, header, numbers, skipped, changed)
        for path, (annotated, header) in usable.items()
        if path not in bad
    ]
    made = DetectionSet(split, names, tuple(images), skipped, ())
    kept_out = _counted(skipped) + (f"; the first image is {lost[0]}" if lost else "")
    if not images or not made.counts().any():
        what = "box" if images else "image"
        kinds = f" (kept out: {kept_out})" if +skipped else ""
        raise UserError(
            f"split {split!r} of {root} has no {what} that can be used{kinds}; add some"
        )
    notes = (_describe(made), *_notes(made, root, changed, kept_out))
    return DetectionSet(split, names, tuple(images), skipped, notes)


def _usable(
    found: Annotations, skipped: Counter
) -> tuple[dict[str, tuple[Annotated, Header]], list[str]]:
    """Returns the images by their paths, each once, and the paths of those without a header."""
    usable, seen, lost = {}, set(), []
    for annotated in found.images:
        if annotated.path in seen:
            skipped["image listed twice"] += 1
            continue
        seen.add(annotated.path)
        if header := check_header(annotated, skipped):
            usable[annotated.path] = annotated, header
        else:
            lost.append(annotated.path)
    return usable, lost


def _describe(made: DetectionSet) -> str:
    """Returns a line such as 'train: 205 images, 9 boxes of 2 classes (RBC 8, WBC 1)'."""
    counts = made.counts()
    each = ", ".join(f"{short(name)} {n}" for name, n in zip(made.class_names, counts, strict=True))
    if len(counts) > _MOST_CLASSES_SHOWN:
        each = f"{counts.min()} to {counts.max()} each"
    return (
        f"{made.split}: {len(made.images)} images, {counts.sum()} boxes of {len(counts)} "
        f"{'class' if len(counts) == 1 else 'classes'} ({each})"
    )


def _notes(made: DetectionSet, root: Path, changed: Counter, kept_out: str) -> list[str]:
    lines = []
    if +made.skipped:
        lines.append(f"kept out of {made.split!r} in {root}: {kept_out}")
    empty = sum(not len(image.boxes) for image in made.images)
    if empty:
        lines.append(f"{empty} images of {made.split!r} have no box; they are background")
    if changed["cut"]:
        lines.append(f"{changed['cut']} boxes of {made.split!r} were cut at their image's edge")
    if changed["turned"]:
        lines.append(
            f"{changed['turned']} images of {made.split!r} are turned by their EXIF orientation; "
            "their boxes are too, if they were annotated at the size of the file"
        )
    pairs = zip(made.class_names, made.counts(), strict=True)
    if missing := [name for name, count in pairs if not count]:
        shown = ", ".join(repr(short(name)) for name in missing[:5]) + (
            " and others" if len(missing) > 5 else ""
        )
        lines.append(f"warning: {made.split!r} has no box of {shown}")
    return lines


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count}x {kind}" for kind, count in (+kinds).most_common())
