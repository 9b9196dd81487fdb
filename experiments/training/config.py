"""How the networks of an experiment are trained, and the flags for it.

Flags are defined by a call, not by the import: a module that defines flags is a command.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

from common.choices import whole_numbers
from common.cli import UserError
from trainers import recipes
from trainers.settings import MAX_SEED

FLAGS = flags.FLAGS
# The flags belong to the calling command, whose --help shows them.
flags.disclaim_key_flags()
# The flags of `trainers.train` that --train accepts, with the same names.
_VALUES = {
    "dataset": (flags.DEFINE_string, "as in `shufflenet train`."),
    "data_dir": (flags.DEFINE_string, "as in `shufflenet train`."),
    "epochs": (flags.DEFINE_float, "passes over the training images."),
    "steps": (flags.DEFINE_integer, "training steps, instead of --epochs."),
    "batch_size": (flags.DEFINE_integer, "images per step."),
    "learning_rate": (flags.DEFINE_float, "peak of the schedule."),
    "optimizer": (flags.DEFINE_string, "sgd, as in the papers, or muon."),
}
# Those that detectors have, too, or have others of.
_DETECTION_VALUES = {
    "train_split": (flags.DEFINE_string, "as in `shufflenet train`."),
    "eval_split": (flags.DEFINE_string, "as in `shufflenet train`."),
    "input_size": (flags.DEFINE_integer, "height and width of the images, a multiple of 32."),
    "optimizer": (flags.DEFINE_string, "adamw, sgd or muon."),
    "flip_vertical": (flags.DEFINE_bool, "also turn images upside down."),
}
_DETECTION = "detection"
# Of --recipe=detection, unless they are given: minutes a network on a CPU.
_DETECTION_DEFAULTS = {"input_size": 192, "steps": 500}


@dataclass(frozen=True)
class QueueConfig:
    """How all networks of a queue are trained.

    Attributes:
      recipe: a key of `trainers.recipes.RECIPES`; its network is replaced.
      values: of `TrainConfig` by name, which replace the recipe's.
      seeds: each network is trained once with each seed.
      folder: of the workdirs.
      names: of the networks; None: all.

    Raises:
      UserError: no seeds, equal seeds or negative ones.
    """

    recipe: str
    values: Mapping[str, Any]
    seeds: tuple[int, ...]
    folder: Path
    names: Sequence[str] | None = None

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise UserError(
                f"--seeds must be different numbers of at least 0; got {list(self.seeds)}"
            )


def trainings_folder(output: Path, experiment: str) -> Path:
    """Returns the folder of an experiment's trainings under its --output."""
    return output / "trainings" / experiment


def define_flags(recipe: str = "cifar10") -> None:
    """Defines the flags; a command calls it at its top.

    Args:
      recipe: the value of --recipe if it is not given.
    """
    flags.DEFINE_bool(
        "train",
        False,
        "Train networks too, one after the other; finished trainings under --output are not "
        "repeated, interrupted ones are resumed.",
    )
    flags.DEFINE_list(
        "train_networks",
        None,
        "With --train: the networks to train, separated by commas; all by default.",
    )
    flags.DEFINE_list("seeds", ["0"], "With --train: each network is trained once with each seed.")
    flags.DEFINE_string("recipe", recipe, f"With --train: {', '.join(recipes.RECIPES)}.")
    for name, (define, text) in _values(recipe).items():
        define(name, None, f"With --train: {text}")


def read_flags(name: str) -> QueueConfig | None:
    """Returns what the command line says; None without --train.

    Args:
      name: of the experiment, for the folder of its trainings under --output.

    Raises:
      UserError: no seeds, seeds that are not whole numbers of at least 0, or equal ones; or a
        recipe for another kind of network.
    """
    if not FLAGS.train:
        return None
    usual = FLAGS["recipe"].default
    if (FLAGS.recipe == _DETECTION) != (usual == _DETECTION):
        raise UserError(
            f"--recipe={FLAGS.recipe} does not train this experiment's networks; leave it out"
        )
    seeds = whole_numbers("seeds", FLAGS.seeds, 0, MAX_SEED)
    names = _values(usual)
    values = {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}
    if usual == _DETECTION:
        defaults = dict(_DETECTION_DEFAULTS)
        if "epochs" in values:
            del defaults["steps"]
        values = {**defaults, **values}
    if "data_dir" in values:
        # Workdirs remember it, and the next command may start in another folder.
        values["data_dir"] = str(Path(values["data_dir"]).absolute())
    return QueueConfig(
        recipe=FLAGS.recipe,
        values=values,
        seeds=seeds,
        folder=trainings_folder(Path(FLAGS.output), name),
        names=FLAGS.train_networks,
    )


def _values(recipe: str) -> dict[str, tuple]:
    """Returns the flags of an experiment whose networks are trained by a recipe."""
    return {**_VALUES, **(_DETECTION_VALUES if recipe == _DETECTION else {})}
