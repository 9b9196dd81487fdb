"""The page of an evaluation: scores, classes, confusions, and the surest mistakes as pictures."""

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from common.pages.html_page import write_page
from trainers.evaluation import Scores
from trainers.prediction.outcomes import Mistake
from trainers.reporting import confusion

_NONE = "-"


def write_evaluation(
    path: Path,
    about: dict[str, str],
    scores: Scores,
    names: Sequence[str],
    mistakes: Sequence[Mistake],
) -> None:
    """Writes the page.

    Args:
      path: the HTML file.
      about: what was evaluated: lines of a table.
      scores: the result.
      names: the class names.
      mistakes: some images.

    Raises:
      UserError: a package is missing.
      OSError: the file cannot be written.

    Examples:
      >>> write_evaluation(path, {"model": "work"}, scores, ["cat", "dog"], [])
    """
    counts = scores.confusion
    values = {
        "about": [[name, value] for name, value in about.items()],
        "scores": scores.summary,
        "images": scores.images,
        "classes": class_rows(counts, names),
        "confusion": confusion.summary(counts, names),
        "mistakes": [
            {
                "picture": _picture(one.pixels),
                "one": one,
                # A file's name may be no text.
                "image": one.image.encode(errors="backslashreplace").decode(),
            }
            for one in mistakes
        ],
    }
    write_page(path, Path(__file__).with_name("templates"), "evaluation.html", values, plots=False)


def class_rows(counts: np.ndarray, names: Sequence[str]) -> list[list[str]]:
    """Returns a row for each class: name, images, recall and precision.

    Recall is the share of the class's images that are found, precision the share of the guesses of
    this class that are right.

    Args:
      counts: int64 [classes, classes], by true class and guess.
      names: class names.

    Examples:
      >>> class_rows(np.array([[9, 1], [0, 10]]), ["cat", "dog"])
      [['cat', '10', '90.0%', '100.0%'], ['dog', '10', '100.0%', '90.9%']]
    """
    right, images, guesses = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    return [
        [name, f"{images[i]:,}", _share(right[i], images[i]), _share(right[i], guesses[i])]
        for i, name in enumerate(names)
    ]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else _NONE


def _picture(pixels: np.ndarray) -> str:
    """Returns an image as a PNG in a URL."""
    return "data:image/png;base64," + base64.b64encode(tf.io.encode_png(pixels).numpy()).decode()
