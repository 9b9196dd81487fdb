"""Reads boxes from COCO's JSON (https://cocodataset.org/#format-data)."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from common.storage.readers import DamagedError, read_json
from trainers.detection.data.annotations import Annotated, Annotations, Box, check_names

# COCO's own file of 118,000 images and 860,000 outlines has 450 MB, some 60 million values.
_MAX_BYTES = 2**30
_MAX_VALUES = 150_000_000
_REMEDY = "export the data set again, without outlines (segmentation) if they make it too large"
_EXPORT = "export the data set again, as COCO's JSON of boxes"
_PLACES = (
    "{split}.json",
    "annotations/{split}.json",
    "annotations/instances_{split}.json",
    "{split}/_annotations.coco.json",
)


def find(root: Path, split: str) -> Path | None:
    """Returns the file of a split, or None."""
    places = (root / place.format(split=split) for place in _PLACES)
    return next((place for place in places if place.is_file()), None)


def read(root: Path, split: str) -> Annotations:
    """Reads a split's file; the images are in ROOT/images, ROOT/SPLIT, ROOT/images/SPLIT or ROOT.

    Raises:
      DamagedError: the file is not COCO's JSON.
      UserError: two categories have the same name, or one has none.
    """
    path = find(root, split)
    content = read_json(path, _REMEDY, _MAX_BYTES, _MAX_VALUES)
    try:
        names = {entry["id"]: entry["name"] for entry in content["categories"]}
        listed = [entry["name"] for entry in sorted(content["categories"], key=lambda e: e["id"])]
        check_names(listed, path)
        if len(names) != len(listed):
            raise ValueError("two categories have the same id")
        images = _images(content["images"], _folders(root, path, split))
        skipped = Counter({"image listed twice": len(content["images"]) - len(images)})
        for entry in content.get("annotations", ()):
            if entry["image_id"] not in images:
                skipped["annotation of an unlisted image"] += 1
            elif not _has_box(entry):
                skipped["annotation without a box"] += 1
            else:
                images[entry["image_id"]].boxes.append(_box(entry, names))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"it is not COCO's JSON: {_explained(error)}"
        raise DamagedError(path, reason, _EXPORT) from error
    return Annotations(list(images.values()), tuple(listed), +skipped)


def _explained(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return f"{type(error).__name__} {error}"


def _images(entries: list[dict], folders: list[Path]) -> dict[Any, Annotated]:
    """Returns the images by id."""
    images = {}
    for entry in entries:
        image = Annotated(_place(folders, entry["file_name"]), _size(entry))
        if images.setdefault(entry["id"], image).path != image.path:
            # Nobody could say which of them a box belongs to.
            raise ValueError(f"two images have the id {entry['id']!r}")
    return images


def _folders(root: Path, path: Path, split: str) -> list[Path]:
    """Returns where images may be, the likeliest first."""
    places = (path.parent, root / "images" / split, root / split, root / "images", root)
    # A file in the root says nothing of its own folder.
    return [place for place in places if place.is_dir() and (place != root or place is places[-1])]


def _place(folders: list[Path], name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError(f"file_name {name!r}")
    # Windows writes its own separators.
    names = dict.fromkeys((name, name.replace("\\", "/")))
    found = (str(folder / each) for each in names for folder in folders)
    # Unlike Path.is_file, it takes names that no file can have. ROOT, the last, seldom has images.
    return next(filter(os.path.isfile, found), str(folders[-2:][0] / name))


def _size(entry: dict) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    return (int(width), int(height)) if width and height else None


def _has_box(entry: dict) -> bool:
    """Returns whether an annotation has a box; a label of the whole image has none."""
    return isinstance(entry.get("bbox"), list) and len(entry["bbox"]) == 4


def _box(entry: dict, names: dict) -> Box:
    left, top, width, height = map(float, entry["bbox"])
    area = entry.get("area")
    return Box(
        names.get(entry["category_id"]),
        (left, top, left + width, top + height),
        crowd=bool(entry.get("iscrowd", 0)),
        difficult=bool(entry.get("ignore", 0)),
        area=float(area) if isinstance(area, int | float) and area > 0 else None,
    )
