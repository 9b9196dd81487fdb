"""The flags of benchmarks that train their networks.

They are defined by a call and not by the import: a module with flags is a command.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from benchmarks.training.trainings import AccuracyConfig
from trainers import recipes

FLAGS = flags.FLAGS


def define(recipe: str, workdirs: str) -> None:
    """Defines the flags; a command calls it at its top.

    Args:
      recipe, workdirs: the defaults.
    """
    flags.DEFINE_string("recipe", recipe, f"Of all trainings: {', '.join(recipes.RECIPES)}.")
    flags.DEFINE_list("networks", None, "Networks to train, separated by commas; all by default.")
    flags.DEFINE_string("dataset", "cifar10", "As --dataset of trainers.train.")
    flags.DEFINE_string("data_dir", None, "As --data_dir of trainers.train.")
    flags.DEFINE_integer(
        "epochs", None, "Of every float training (default: the recipe's).", lower_bound=1
    )
    flags.DEFINE_string("workdirs", workdirs, "Folder of the trainings, kept.")


def read(check_names: Callable[[Sequence[str] | None], tuple[str, ...]]) -> AccuracyConfig:
    """Returns what the command line says.

    Args:
      check_names: gives the networks' names, all of them for None.

    Raises:
      UserError: as `check_names`.
    """
    return AccuracyConfig(
        networks=check_names(FLAGS.networks),
        recipe=FLAGS.recipe,
        dataset=FLAGS.dataset,
        # Workdirs remember it, and the next command may be given elsewhere.
        data_dir=None if FLAGS.data_dir is None else str(Path(FLAGS.data_dir).absolute()),
        epochs=FLAGS.epochs,
        workdirs=Path(FLAGS.workdirs),
    )
