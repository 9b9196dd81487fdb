"""Measures accuracy on CIFAR-10: of networks trained in float, and quantized in several ways.

Trains each network in float, continues with quantization-aware training (QAT), converts, and
evaluates every file on all test images. An interrupted run resumes: the trainings are kept in
--workdirs.

Example:
  python -m benchmarks.accuracy --dataset=folder --data_dir=ROOT
"""

from absl import flags

from benchmarks.measuring.results import Destination, define_flags
from benchmarks.training import trainings
from common import cli

_QAT_EPOCHS = flags.DEFINE_integer(
    "qat_epochs", 4, "Epochs of quantization-aware training.", lower_bound=1
)
define_flags("accuracy")
trainings.define_flags(recipe="cifar10", workdirs="build/accuracy")


def main() -> None:
    """Reads the flags, trains, converts, evaluates, and writes the JSON file and the table."""
    destination = Destination.from_flags("accuracy")
    config = trainings.read_flags(trainings.NETWORKS)
    run = destination.start()
    epochs = _QAT_EPOCHS.value
    run["networks"] = {name: trainings.measure(name, config, epochs) for name in config.networks}
    destination.write(run, trainings.accuracy_table(run["networks"]))


if __name__ == "__main__":
    cli.run(main)
