"""Predictions as a table, JSON or CSV."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.console.table import format_table


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of an image.

    Attributes:
      file: its path.
      guesses: (class name, probability), best first.
    """

    file: str
    guesses: Sequence[tuple[str, float]]


def as_table(predictions: Sequence[Prediction], unreadable: dict[str, str]) -> str:
    """Returns a line for each image: its file, its class and the runners-up, in percent."""
    guesses = len(predictions[0].guesses)
    ranks = ["class", "runner-up", *(f"guess {rank}" for rank in range(3, guesses + 1))][:guesses]
    headers = ["file", *(title for rank in ranks for title in (rank, "probability"))]
    rows = [
        [one.file, *(cell for name, share in one.guesses for cell in (name, f"{share:.1%}"))]
        for one in predictions
    ]
    return format_table(headers, rows)


def as_json(predictions: Sequence[Prediction], unreadable: dict[str, str]) -> str:
    """Returns one object: `predictions`, and the `unreadable` files with the reasons."""
    record = {
        "predictions": [
            {
                "file": one.file,
                "guesses": [{"class": name, "probability": share} for name, share in one.guesses],
            }
            for one in predictions
        ],
        "unreadable": [{"file": file, "reason": reason} for file, reason in unreadable.items()],
    }
    return json.dumps(record, indent=2)


def as_csv(predictions: Sequence[Prediction], unreadable: dict[str, str]) -> str:
    """Returns the columns file, class, probability, class_2, probability_2, and so on."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ["", *(f"_{rank}" for rank in range(2, len(predictions[0].guesses) + 1))]
    writer.writerow(
        ["file", *(f"{name}{end}" for end in ends for name in ("class", "probability"))]
    )
    for one in predictions:
        cells = (cell for name, share in one.guesses for cell in (name, f"{share:.6g}"))
        writer.writerow([one.file, *cells])
    return text.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[Sequence[Prediction], dict[str, str]], str]] = {
    "table": as_table,
    "json": as_json,
    "csv": as_csv,
}
