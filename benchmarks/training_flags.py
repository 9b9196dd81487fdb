"""The flags of benchmarks that train their networks with the recipe `cifar10`.

They are defined by a call and not by the import: a module with flags is a command.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from benchmarks.trainings import AccuracyConfig

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags; a command calls it at its top."""
    flags.DEFINE_list("networks", None, "Networks to train, separated by commas; all by default.")
    flags.DEFINE_string("dataset", "cifar10", "As --dataset of trainers.train.")
    flags.DEFINE_string("data_dir", None, "As --data_dir of trainers.train.")
    flags.DEFINE_integer("epochs", 20, "Of every float training.", lower_bound=1)
    flags.DEFINE_string("workdirs", "build/accuracy", "Folder of the trainings, kept.")


def read(check_names: Callable[[Sequence[str] | None], tuple[str, ...]]) -> AccuracyConfig:
    """Returns what the command line says.

    Args:
      check_names: gives the networks' names, all of them for None.

    Raises:
      UserError: as `check_names`.
    """
    return AccuracyConfig(
        networks=check_names(FLAGS.networks),
        dataset=FLAGS.dataset,
        # Workdirs remember it, and the next command may be given elsewhere.
        data_dir=None if FLAGS.data_dir is None else str(Path(FLAGS.data_dir).absolute()),
        epochs=FLAGS.epochs,
        workdirs=Path(FLAGS.workdirs),
    )
