"""How the networks of an experiment are trained, and the flags that say so.

Flags are defined by a call and not by the import: a module with flags is a command.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

from common.cli import UserError
from trainers import recipes

FLAGS = flags.FLAGS
# The flags are the calling command's, whose --help shows them.
flags.disclaim_key_flags()
# What --train takes over from `trainers.train`, by the same names.
_VALUES = (
    "dataset", "data_dir", "epochs", "steps", "batch_size", "learning_rate", "optimizer",
)  # fmt: skip


@dataclass(frozen=True)
class QueueConfig:
    """How all networks of a queue are trained.

    Attributes:
      recipe: a key of `trainers.recipes.RECIPES`; its network is replaced.
      values: of `TrainConfig` by name, in the place of the recipe's.
      seeds: each network is trained once with each.
      folder: of the workdirs.
      names: of the networks; None: all.
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
    """Returns where an experiment's trainings are under its --output."""
    return output / "trainings" / experiment


def define_flags() -> None:
    """Defines the flags; a command calls it at its top."""
    flags.DEFINE_bool(
        "train",
        False,
        "Train networks too, one after the other; what is finished under --output is not done "
        "again, and what is half done goes on.",
    )
    flags.DEFINE_list(
        "train_networks", None, "With --train, the networks to train; all of the experiment's."
    )
    flags.DEFINE_list("seeds", ["0"], "With --train, each network is trained once with each.")
    flags.DEFINE_string("recipe", "cifar10", f"Of --train: {', '.join(recipes.RECIPES)}.")
    flags.DEFINE_string("dataset", None, "Of --train, as in trainers.train.")
    flags.DEFINE_string("data_dir", None, "Of --train, as in trainers.train.")
    flags.DEFINE_float("epochs", None, "Of --train: passes over the training images.")
    flags.DEFINE_integer("steps", None, "Of --train: steps, instead of --epochs.")
    flags.DEFINE_integer("batch_size", None, "Of --train: images a step.")
    flags.DEFINE_float("learning_rate", None, "Of --train: peak of the schedule.")
    flags.DEFINE_string("optimizer", None, "Of --train: sgd, as the papers, or muon.")


def read_flags(name: str) -> QueueConfig | None:
    """Returns what the command line says; None without --train.

    Args:
      name: of the experiment, for the folder of its trainings under --output.

    Raises:
      UserError: seeds that are no numbers, no or equal ones.
    """
    if not FLAGS.train:
        return None
    try:
        seeds = tuple(int(seed) for seed in FLAGS.seeds)
    except ValueError:
        raise UserError(f"--seeds must be whole numbers; got {','.join(FLAGS.seeds)!r}") from None
    given = {value: FLAGS[value].value for value in _VALUES}
    if given["data_dir"] is not None:
        # Workdirs remember it, and the next command may be given elsewhere.
        given["data_dir"] = str(Path(given["data_dir"]).absolute())
    values = {value: given[value] for value in _VALUES if given[value] is not None}
    return QueueConfig(
        recipe=FLAGS.recipe,
        values=values,
        seeds=seeds,
        folder=trainings_folder(Path(FLAGS.output), name),
        names=FLAGS.train_networks,
    )
