"""Keeps what can be learnt from of an image's boxes, and counts the rest by kind."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.detection.average_precision import Truth
from trainers.detection.data.annotations import Annotated, Box
from trainers.detection.data.headers import Header, read_header, turned

# Of `ImageBoxes`: boxes, classes, crowds, difficult, areas.
_COLUMNS = (np.float32, np.int32, bool, bool, np.float32)


class ImageBoxes(NamedTuple):
    """The boxes of one image, in pixels of the upright image.

    Attributes:
      path: of the image.
      width, height: of the upright image.
      boxes: float32 [n, 4], left, top, right, bottom, inside of the image.
      classes: int32 [n], numbers of `DetectionSet.class_names`.
      crowds: bool [n], boxes around many objects.
      difficult: bool [n], boxes that need not be found.
      areas: float32 [n], square pixels; of the outlines where the file has them.
    """

    path: str
    width: int
    height: int
    boxes: np.ndarray
    classes: np.ndarray
    crowds: np.ndarray
    difficult: np.ndarray
    areas: np.ndarray

    @property
    def truth(self) -> Truth:
        """What `common.detection.average_precision` compares detections with."""
        return Truth(self.boxes, self.classes, self.crowds, self.difficult, self.areas)


def check_header(annotated: Annotated, skipped: Counter) -> Header | None:
    """Returns an image's header; None, and counted, if the image cannot be used."""
    try:
        # A pipe would be waited for.
        if not Path(annotated.path).is_file():
            skipped["missing image"] += 1
            return None
        header = read_header(annotated.path)
    except OSError:
        header = None
    if header is None:
        skipped["unreadable image"] += 1
        return None
    sizes = {(header.width, header.height), header.upright}
    if annotated.size is not None and annotated.size not in sizes:
        # It was scaled after it was annotated: its boxes are somewhere else.
        skipped["image of another size than annotated"] += 1
        return None
    return header


def cleaned(
    annotated: Annotated,
    header: Header,
    numbers: dict[str, int],
    skipped: Counter,
    changed: Counter,
) -> ImageBoxes:
    """Returns the boxes of an image that can be used, in pixels of the upright image.

    Args:
      annotated: the image as its file describes it.
      header: of the image.
      numbers: of the classes, by name.
      skipped: counts the boxes that are kept out, by kind.
      changed: counts images that are "turned" and boxes that are "cut" at an image's edge.
    """
    width, height = header.upright
    whole = np.array([width, height, width, height], np.float64)
    corners = _corners(annotated, header, changed)
    inside = np.clip(corners, 0, whole)
    names = [box.name for box in annotated.boxes]
    wrong = _wrong(np.array([name not in numbers for name in names], bool), corners, inside)
    places = _kept(annotated.boxes, inside, wrong, skipped)
    boxes, inside = [annotated.boxes[place] for place in places], inside[places]
    changed["cut"] += int((np.abs(inside - corners[places]).max(-1, initial=0) > 1).sum())
    own = np.prod(inside[:, 2:] - inside[:, :2], axis=-1)
    columns = (
        inside,
        [numbers[box.name] for box in boxes],
        [box.crowd for box in boxes],
        [box.difficult for box in boxes],
        # No object is larger than the image, whatever its file says.
        [min(box.area or size, width * height) for box, size in zip(boxes, own, strict=True)],
    )
    arrays = (np.array(values, dtype) for values, dtype in zip(columns, _COLUMNS, strict=True))
    return ImageBoxes(annotated.path, width, height, *arrays)


def _kept(
    boxes: list[Box], inside: np.ndarray, wrong: list[str | None], skipped: Counter
) -> list[int]:
    """Returns the numbers of the boxes that can be used, each box once; counts the others."""
    kept: dict[tuple, int] = {}
    rounded = inside.round(3).tolist()
    for place, (box, kind) in enumerate(zip(boxes, wrong, strict=True)):
        key = (box.name, *rounded[place], box.crowd)
        if kind is None and key not in kept:
            kept[key] = place
        else:
            skipped[kind or "duplicate box"] += 1
    return list(kept.values())


def _corners(annotated: Annotated, header: Header, changed: Counter) -> np.ndarray:
    """Returns the corners of an image's boxes in pixels of the upright image, float64 [n, 4]."""
    corners = np.array([box.corners for box in annotated.boxes], np.float64).reshape(-1, 4)
    if annotated.relative:
        corners *= [*header.upright, *header.upright]
    changed["turned"] += header.orientation != 1
    # Only an annotated size can say that the boxes are of the image as it is stored.
    is_stored = annotated.size == (header.width, header.height)
    return turned(corners, header) if header.orientation != 1 and is_stored else corners


def _wrong(is_unknown: np.ndarray, corners: np.ndarray, inside: np.ndarray) -> list[str | None]:
    """Returns why each box cannot be used, or None.

    Args:
      is_unknown: bool [n], boxes of classes that the data set does not name.
      corners: float64 [n, 4].
      inside: float64 [n, 4], cut at the image's edge.
    """
    is_number = np.isfinite(corners).all(-1)
    shown = np.where(is_number[:, None], corners, 0)
    sizes = shown[:, 2:] - shown[:, :2]
    # As it is kept, where a tiny size may be lost in rounding.
    stored = inside.astype(_COLUMNS[0])
    kinds = (
        ("box of an unknown class", is_unknown),
        ("box with a corner that is no number", ~is_number),
        ("box with swapped corners", (sizes < 0).any(-1)),
        ("box without an area", (sizes == 0).any(-1)),
        ("box outside of its image", (inside[:, 2:] <= inside[:, :2]).any(-1)),
        ("box without an area", (stored[:, 2:] <= stored[:, :2]).any(-1)),
    )
    names = [name for name, _ in kinds]
    first = np.select([is_so for _, is_so in kinds], range(len(kinds)), default=len(kinds))
    return [(*names, None)[number] for number in first.tolist()]
