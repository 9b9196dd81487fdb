"""Keeps what can be learnt from of an image's boxes, and counts the rest by kind."""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from common.detection.average_precision import Truth
from trainers.detection.data.annotations import Annotated
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
        header = read_header(annotated.path)
    except FileNotFoundError:
        skipped["missing image"] += 1
        return None
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
    # Only an annotated size can say that the boxes are of the image as it is stored.
    is_stored = annotated.size == (header.width, header.height)
    turns = header.orientation != 1 and is_stored
    changed["turned"] += header.orientation != 1
    kept = {}
    for box in annotated.boxes:
        corners = np.array([box.corners], np.float64)
        if annotated.relative:
            corners *= [width, height, width, height]
        if turns:
            corners = turned(corners, header)
        cut = np.clip(corners[0], 0, [width, height, width, height])
        reason = _reason(box.name, corners[0], cut, numbers)
        key = (box.name, *cut.round(3), box.crowd)
        if reason or key in kept:
            skipped[reason or "duplicate box"] += 1
            continue
        changed["cut"] += np.abs(cut - corners[0]).max() > 1
        area = box.area or (cut[2] - cut[0]) * (cut[3] - cut[1])
        kept[key] = (cut, numbers[box.name], box.crowd, box.difficult, area)
    columns = list(zip(*kept.values(), strict=True)) or [()] * len(_COLUMNS)
    arrays = [np.array(values, dtype) for values, dtype in zip(columns, _COLUMNS, strict=True)]
    return ImageBoxes(annotated.path, width, height, arrays[0].reshape(-1, 4), *arrays[1:])


def _reason(
    name: str | None, corners: np.ndarray, cut: np.ndarray, numbers: dict[str, int]
) -> str | None:
    """Returns why a box cannot be used, or None."""
    if name not in numbers:
        return "box of an unknown class"
    if not all(map(math.isfinite, corners)):
        return "box with a corner that is no number"
    sizes = corners[2:] - corners[:2]
    if (sizes < 0).any():
        return "box with swapped corners"
    if (sizes == 0).any():
        return "box without an area"
    return "box outside of its image" if (cut[2:] <= cut[:2]).any() else None
