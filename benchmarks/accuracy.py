"""Measures accuracy on CIFAR-10: trained in float, quantized in three ways.

Trains each network, trains it on with quantization, converts, and runs every test image through
every file. An interrupted run goes on where it stopped: the trainings lie in --workdirs.

Example:
  python -m benchmarks.accuracy --dataset=folder --data_dir=ROOT
"""

from absl import flags

from benchmarks.measuring import result_flags
from benchmarks.training import flags as training_flags
from benchmarks.training.trainings import accuracy_table, check_names, measure
from common import cli
from converters.source_digest import versions
from edge.provenance import describe_run

_QAT_EPOCHS = flags.DEFINE_integer("qat_epochs", 4, "Trained with quantization.", lower_bound=1)
result_flags.define("accuracy")
training_flags.define(recipe="cifar10", workdirs="build/accuracy")
# So that --help shows them.
flags.adopt_module_key_flags(result_flags)
flags.adopt_module_key_flags(training_flags)


def main() -> None:
    """Reads the flags, trains, converts, evaluates, and writes the JSON file and the table."""
    destination = result_flags.read("accuracy")
    config = training_flags.read(check_names)
    run = describe_run(destination.command, versions())
    run["networks"] = {name: measure(name, config, _QAT_EPOCHS.value) for name in config.networks}
    destination.write(run, accuracy_table(run["networks"]))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
