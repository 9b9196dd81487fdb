"""Measures how long a training takes to start: from the process's start to its first step's end.

Each round starts a new training of one step in an empty workdir (the folder of a training), like a
user: all images are verified. The time of the step's end is read from its TensorBoard file.

Example:
  python -m benchmarks.startup --dataset=folder --data_dir=ROOT
"""

import functools
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.measuring.results import Destination, define_flags, full_range
from benchmarks.training.trainings import run_command
from common import cli
from common.choices import choose
from common.console.table import markdown_table
from edge.running.side_by_side import interleave
from trainers import recipes
from trainers.startup import import_tensorflow

_RECIPES = flags.DEFINE_list(
    "recipes",
    ["cifar10", "cifar10_fast"],
    f"Recipes to start, separated by commas, some of {', '.join(recipes.RECIPES)}.",
)
_DATASET = flags.DEFINE_string("dataset", "cifar10", "As in `shufflenet train`.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As in `shufflenet train`.")
_EVAL_SPLIT = flags.DEFINE_string(
    "eval_split", "test[:64]", "What is evaluated after the step; it does not count."
)
_TURNS = flags.DEFINE_integer("turns", 3, "Rounds; each starts every recipe.", lower_bound=1)
define_flags("startup")


def main() -> None:
    """Reads the flags, measures, and writes the JSON file and the table."""
    destination = Destination.from_flags("startup")
    names = choose("recipe", _RECIPES.value, recipes.RECIPES)
    import_tensorflow()
    run = destination.start()
    starts = {recipe: functools.partial(_start, recipe) for recipe in names}
    run["recipes"] = {
        recipe: dict(zip(("seconds", "cpu_seconds"), zip(*found, strict=True), strict=True))
        for recipe, found in interleave(starts, _TURNS.value).items()
    }
    destination.write(run, startup_table(run["recipes"]))


def startup_table(measured: dict[str, dict[str, list[float]]]) -> str:
    """Returns a markdown table with a line for each recipe.

    Args:
      measured: by recipe, `seconds` and `cpu_seconds` of each round.
    """
    rows = [
        [recipe, full_range(one["seconds"], 1), f"{np.median(one['cpu_seconds']):.1f}"]
        for recipe, one in measured.items()
    ]
    headers = ["recipe", "to the first step's end, s (range)", "CPU time of the whole command, s"]
    return markdown_table(headers, rows)


def first_step_time(workdir: Path) -> float:
    """Returns when a training's first loss was known, in seconds since 1970.

    Raises:
      UserError: the training has written no loss.
    """
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    for file in sorted((workdir / "tensorboard").glob("events.*")):
        for event in EventFileLoader(str(file)).Load():
            if any(value.tag == "train/loss" for value in event.summary.value):
                return event.wall_time
    raise cli.UserError(f"{workdir}/tensorboard has no training step; start again")


def _start(recipe: str) -> tuple[float, float]:
    """Returns the seconds to the first step's end, and the CPU time of the whole training."""
    data = () if _DATA_DIR.value is None else (f"--data_dir={_DATA_DIR.value}",)
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder, "work")
        before, begin = _children_seconds(), time.time()
        run_command(
            "trainers.train", f"--recipe={recipe}", f"--workdir={workdir}", "--steps=1",
            f"--dataset={_DATASET.value}", *data, f"--eval_split={_EVAL_SPLIT.value}",
            silent=True,
        )  # fmt: skip
        return first_step_time(workdir) - begin, _children_seconds() - before


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    cli.run(main)
