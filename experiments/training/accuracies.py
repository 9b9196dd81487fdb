"""The accuracies of trainings as a table, and whether two networks differ."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from experiments.harness.experiment import Result, Table
from experiments.training.queue import Accuracy, finished

_NONE = "-"
# Two shares of a test set count as equal if they differ by at most this many standard errors.
_MARGIN = 2.0


def with_accuracies(
    result: Result,
    title: str,
    names: Iterable[str],
    folder: Path,
    paper: Mapping[str, float],
    verdicts: Callable[[Mapping[str, Accuracy]], Iterable[str]],
) -> Result:
    """Returns the result with the accuracies of its networks; unchanged if none is trained.

    Args:
      result: of the measurements.
      title: of the table, which comes last.
      names: of the networks.
      folder: of their trainings.
      paper: as in `accuracy_table`.
      verdicts: returns the verdicts on the accuracies; they come last.
    """
    trained = finished(names, folder)
    if not trained:
        return result
    return Result(
        [*result.tables, accuracy_table(title, trained, paper)],
        [*result.verdicts, *verdicts(trained)],
        result.pictures,
        {**result.data, "accuracies": as_json(trained)},
    )


def accuracy_table(
    title: str, accuracies: Mapping[str, Accuracy], paper: Mapping[str, float]
) -> Table:
    """Returns a row per network: its size as trained, and its accuracy with the spread.

    Args:
      title: of the table.
      accuracies: by the network's name.
      paper: by the network's name, the paper's top-1 error on ImageNet in percent.
    """
    headers = [
        "network", "multiply-adds, M", "parameters", "trained", "top-1, %", "lowest-highest",
        "seeds", "the paper's on ImageNet, %",
    ]  # fmt: skip
    rows = [
        [
            name,
            f"{result.macs / 1e6:.2f}",
            f"{result.parameters:,}",
            _training(result),
            f"{100 * mean(result):.2f}",
            _range(result),
            str(len(result.top1)),
            f"{100 - paper[name]:.1f}" if name in paper else _NONE,
        ]
        for name, result in accuracies.items()
    ]
    images = sorted({result.images for result in accuracies.values()})
    note = (
        f"Counted on {' or '.join(f'{count:,}' for count in images)} images. Multiply-adds and "
        "parameters are those of the networks as they were trained: for these images and classes."
    )
    return Table(title, headers, rows, note)


def mean(accuracy: Accuracy) -> float:
    """Returns the mean top-1 accuracy of all seeds, between 0 and 1."""
    return float(np.mean(list(accuracy.top1.values())))


def compare(first: Accuracy, second: Accuracy) -> bool | None:
    """Returns whether the first is more accurate than the second; None: undecided.

    With several seeds each, all of one must be above all of the other. With one seed, the
    difference must exceed two of its standard errors, which follow from the number of test images;
    that another seed might reverse it is not covered.

    Examples:
      >>> compare(accuracies["0.25x-g8"], accuracies["0.25x-g8-no-shuffle"])
      True
    """
    one, two = sorted(first.top1.values()), sorted(second.top1.values())
    if min(len(one), len(two)) > 1:
        if one[0] > two[-1]:
            return True
        return False if one[-1] < two[0] else None
    shares = ((mean(first), first.images), (mean(second), second.images))
    error = math.sqrt(sum(share * (1 - share) / images for share, images in shares))
    difference = mean(first) - mean(second)
    if abs(difference) <= _MARGIN * error:
        return None
    return difference > 0


def verdict(claim: str, better: Accuracy, worse: Accuracy, paper: float | None) -> str:
    """Returns a sentence: whether what the paper found on ImageNet was found here.

    Networks that were trained differently are not compared.

    Args:
      claim: such as "Shuffling helps".
      better, worse: by the paper.
      paper: the paper's difference of top-1, in points; None: the paper does not give one.
    """
    if better.settings != worse.settings:
        return f"{claim}: not compared, {better.name} and {worse.name} were trained differently."
    points = 100 * (mean(better) - mean(worse))
    found = compare(better, worse)
    words = {True: "holds here", False: "does not hold here", None: "cannot be told here"}
    seeds = min(len(better.top1), len(worse.top1))
    published = "no figure" if paper is None else f"{paper:+.1f} points"
    return (
        f"{claim} (the paper, on ImageNet: {published}): **{words[found]}**: "
        f"{better.name} {100 * mean(better):.2f}%, {worse.name} {100 * mean(worse):.2f}%, "
        f"{points:+.2f} points, {seeds} {'seed' if seeds == 1 else 'seeds'} each."
    )


def as_json(accuracies: Mapping[str, Accuracy]) -> dict:
    """Returns all numbers, and how they were trained."""
    return {
        name: {
            **vars(result),
            "top1": {str(seed): value for seed, value in result.top1.items()},
            # The images' folder means nothing on another machine.
            "settings": {k: v for k, v in result.settings.items() if k != "data_dir"},
        }
        for name, result in accuracies.items()
    }


def _range(accuracy: Accuracy) -> str:
    values = [100 * value for value in accuracy.top1.values()]
    return _NONE if len(values) == 1 else f"{min(values):.2f}-{max(values):.2f}"


def _training(accuracy: Accuracy) -> str:
    settings = accuracy.settings
    steps = settings["steps"]
    length = f"{settings['epochs']:g} epochs" if steps is None else f"{steps} steps"
    return f"{settings['recipe']}, {settings['optimizer']}, {length}"
