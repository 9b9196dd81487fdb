"""Takes ShuffleNet V1 apart: numbers of groups, with shuffles and without (V1 Tables 2 and 3).

Examples:
  python -m experiments.ablations --output=experiments_results
  python -m experiments.ablations --networks=0.25x-g3,0.25x-g3-no-shuffle --train --epochs=10
"""

from absl import flags

from experiments import lab_flags, training_flags
from experiments.command import perform
from trainers import cli
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
    from experiments import ablation_tables

    options = ablation_tables.Options(_NETWORKS.value, training)
    perform("ablations", settings, lambda settings: ablation_tables.run(settings, options))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
