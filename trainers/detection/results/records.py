"""Detections as records for JSON, and as lines of a table or of CSV."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from common.console.table import format_table
from common.detection.nms import Detections

_HEADERS = ("file", "class", "score", "left", "top", "right", "bottom")


def record_of(
    file: str, size: tuple[int, int], found: Detections, names: Sequence[str]
) -> dict[str, Any]:
    """Returns what was found in an image, for JSON.

    Args:
      file: its path.
      size: (width, height), pixels, upright.
      found: in pixels of the image.
      names: the class names.
    """
    return {
        "file": file,
        "width": size[0],
        "height": size[1],
        "detections": [
            {
                "class": names[label],
                "score": round(float(score), 6),
                "box": [round(float(side), 2) for side in box],
            }
            for box, score, label in zip(*found, strict=True)
        ],
    }


def _rows(records: Sequence[dict]) -> list[list[str]]:
    return [
        [one["file"], each["class"], f"{each['score']:.4f}", *(f"{x:.1f}" for x in each["box"])]
        for one in records
        for each in one["detections"]
    ]


def as_table(records: Sequence[dict], unreadable: dict[str, str]) -> str:
    """Returns a line for each detection."""
    rows = _rows(records)
    return format_table(list(_HEADERS), rows) if rows else "nothing was found"


def as_json(records: Sequence[dict], unreadable: dict[str, str]) -> str:
    """Returns one object: the `images`, and the `unreadable` files with the reasons."""
    listed = [{"file": file, "reason": reason} for file, reason in unreadable.items()]
    return json.dumps({"images": records, "unreadable": listed}, indent=2)


def as_csv(records: Sequence[dict], unreadable: dict[str, str]) -> str:
    """Returns the columns file, class, score, left, top, right, bottom; a line a detection."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_HEADERS, *_rows(records)])
    return text.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[Sequence[dict], dict[str, str]], str]] = {
    "table": as_table,
    "json": as_json,
    "csv": as_csv,
}
