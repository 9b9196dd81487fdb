"""How a detector's raw output becomes boxes, as an artifact's manifest says it (`decode`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.detection.average_precision import AveragePrecision, Truth, average_precision
from common.detection.boxes import RAW_LIMIT, SIDES, Points, make_points
from common.detection.nms import MOST, OVERLAP, Detections, detect
from common.storage.fields import is_int

# A lower score is no detection, where nothing else is said.
SHOWN_SCORE = 0.3
# What is the same in all artifacts, so that a reader needs no other text than the manifest.
_FORMULA = {
    "layout": ["left", "top", "right", "bottom", "class logits"],
    "distance": "2 * stride * exp(raw)",
    "raw_limit": RAW_LIMIT,
    "score": "sigmoid(logit)",
}
_MAX_SIDE, _MAX_LEVELS, _MAX_BOXES = 8192, 3, 10_000


@dataclass(frozen=True)
class Decoding:
    """How a raw output [points, 4 + classes] becomes boxes in pixels of the network's input.

    Attributes:
      height, width: of the network's input, pixels.
      strides: in the order of the output.
      classes: their number.
      min_score: a lower score is no detection.
      max_overlap: the largest IoU that two boxes of a class keep.
      max_boxes: of an image.

    Examples:
      >>> Decoding(320, 320, (8, 16, 32), 3).points.strides.size
      2100
    """

    height: int
    width: int
    strides: tuple[int, ...]
    classes: int
    min_score: float = SHOWN_SCORE
    max_overlap: float = OVERLAP
    max_boxes: int = MOST

    @property
    def points(self) -> Points:
        """Where the network predicts."""
        return make_points(self.height, self.width, self.strides)

    def find(self, raw: np.ndarray) -> list[Detections]:
        """Returns what is shown of each image.

        Args:
          raw: [images, points, 4 + classes], dequantized.
        """
        limits = (self.min_score, self.max_overlap, self.max_boxes)
        names = ("score", "overlap", "most")
        return detect(raw, self.points, **dict(zip(names, limits, strict=True)))

    def precision(self, raw: np.ndarray, truths: Sequence[Truth]) -> AveragePrecision:
        """Returns the average precision on images, with the usual limits of COCO's evaluations.

        Args:
          raw: [images, points, 4 + classes], dequantized.
          truths: of each image, in pixels of the network's input.
        """
        return average_precision(truths, detect(raw, self.points), self.classes)

    def scores(self, raw: np.ndarray, truths: Sequence[Truth]) -> dict:
        """Returns `ap` and `ap50`, 0 to 1 or None, and the number of images, for records."""
        found = self.precision(raw, truths)
        numbers = {"ap": found.ap, "ap50": found.ap50}
        return {"accuracy": None, "accuracy_images": len(truths), **numbers}

    def describe(self) -> dict:
        """Returns the manifest's field `decode` (docs/artifact.md)."""
        return {
            "height": self.height,
            "width": self.width,
            "strides": list(self.strides),
            "classes": self.classes,
            **_FORMULA,
            "min_score": self.min_score,
            "max_overlap": self.max_overlap,
            "max_boxes": self.max_boxes,
        }

    @classmethod
    def read(cls, fields: dict) -> "Decoding":
        """Returns what the manifest's checked field `decode` says."""
        names = ("height", "width", "classes", "min_score", "max_overlap", "max_boxes")
        return cls(strides=tuple(fields["strides"]), **{name: fields[name] for name in names})


def wrong_field(fields: dict, image: Sequence[int], output: Sequence[int]) -> str | None:
    """Returns the first field of a manifest's `decode` that cannot be used, or None.

    Args:
      fields: not trusted.
      image: shape of the network's input, with the batch.
      output: shape of its output, with the batch.
    """
    for name, is_good in _CHECKS.items():
        if not is_good(fields.get(name)):
            return name
    sizes = (fields["height"], fields["width"])
    if sizes != tuple(image[1:3]):
        return "height"
    strides = fields["strides"]
    if any(size % stride for size in sizes for stride in strides):
        return "strides"
    points = sum(sizes[0] // stride * (sizes[1] // stride) for stride in strides)
    return None if list(output[1:]) == [points, SIDES + fields["classes"]] else "classes"


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _is_strides(value: Any) -> bool:
    one = is_int(1, _MAX_SIDE)
    return isinstance(value, list) and 1 <= len(value) <= _MAX_LEVELS and all(map(one, value))


def _is(expected: Any) -> Any:
    return lambda value: value == expected


_CHECKS = {
    "height": is_int(1, _MAX_SIDE),
    "width": is_int(1, _MAX_SIDE),
    "strides": _is_strides,
    "classes": is_int(1, 1_000_000),
    **{name: _is(value) for name, value in _FORMULA.items()},
    "min_score": _is_share,
    "max_overlap": _is_share,
    "max_boxes": is_int(1, _MAX_BOXES),
}
