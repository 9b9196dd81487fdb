"""Confusion matrices: which classes a model confuses, as text and as a picture."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from common import files

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# With more classes than this, the worst pairs say more than a table.
_MAX_TABLE_CLASSES = 20
_MAX_LABELLED_CLASSES = 50
_MAX_PAIRS = 20
_INCHES = (3.0, 12.0)


def table(confusion: np.ndarray, names: Sequence[str]) -> str:
    """Returns the matrix as aligned text, one row per true class.

    Args:
      confusion: int64 [classes, classes], by true class and guess.
      names: class names.

    Examples:
      >>> print(table(np.array([[9, 1], [0, 10]]), ["cat", "dog"]))
      true \\ guess  cat  dog  correct
      cat             9    1    90.0%
      dog             0   10   100.0%
    """
    totals = confusion.sum(axis=1)
    rows = [["true \\ guess", *names, "correct"]]
    for index, name in enumerate(names):
        share = f"{confusion[index, index] / totals[index]:.1%}" if totals[index] else "-"
        rows.append([name, *map(str, confusion[index]), share])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def worst_pairs(confusion: np.ndarray, names: Sequence[str], limit: int = _MAX_PAIRS) -> str:
    """Returns the most frequent mistakes, one per line: count, true class → guess."""
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:limit]
    pairs = (np.unravel_index(place, mistakes.shape) for place in order)
    lines = [f"{mistakes[t, g]:6d}  {names[t]} → {names[g]}" for t, g in pairs if mistakes[t, g]]
    return "\n".join(lines) or "no mistakes"


def summary(confusion: np.ndarray, names: Sequence[str]) -> str:
    """Returns the table if it fits on a screen, otherwise the worst pairs."""
    if len(names) <= _MAX_TABLE_CLASSES:
        return table(confusion, names)
    return worst_pairs(confusion, names)


def save_picture(confusion: np.ndarray, names: Sequence[str], path: str | Path) -> None:
    """Draws the matrix, each row as shares of its true class, and writes a PNG."""
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(len(names) * 0.4 + 2, *_INCHES))
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    image = axes.imshow(confusion / totals, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(image, label="share of the true class", shrink=0.7)
    axes.set(xlabel="guess", ylabel="true class")
    if len(names) <= _MAX_LABELLED_CLASSES:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    if len(names) <= _MAX_TABLE_CLASSES:
        for (true, guess), number in np.ndenumerate(confusion):
            dark = number > totals[true, 0] / 2
            axes.text(guess, true, number, ha="center", va="center", color="w" if dark else "k")
    try:
        with files.atomic_write(path) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
    finally:
        plt.close(figure)
