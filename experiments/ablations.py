"""Takes ShuffleNet V1 apart: numbers of groups, with shuffles and without (V1 Tables 2 and 3).

Examples:
  python -m experiments.ablations --output=experiments_results
  python -m experiments.ablations --networks=0.25x-g3,0.25x-g3-no-shuffle --train --epochs=10
"""

from absl import flags

from common import cli
from experiments.command import perform
from experiments.harness import flags as lab_flags
from experiments.training import flags as training_flags
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks",
    None,
    "Networks such as 1x-g3 or 0.25x-g8-no-shuffle, separated by commas; all by default.",
)
lab_flags.define()
training_flags.define()
# So that --help shows them.
flags.adopt_module_key_flags(lab_flags)
flags.adopt_module_key_flags(training_flags)


def main() -> None:
    """Reads the flags, measures, trains, and writes the result."""
    settings, training = lab_flags.read(), training_flags.read("ablations")
    import_tensorflow()
    from experiments.tables import ablations

    options = ablations.Options(_NETWORKS.value, training)
    perform("ablations", settings, lambda settings: ablations.run(settings, options))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
