"""Compares V2, V1 and MobileNetV2 on CIFAR-10: accuracy against multiply-adds and int8 latency.

As V2's Figure 1, for networks of equal multiply-adds. Each is trained with the same recipe and the
same budget, converted to int8 and timed on one thread; a trained network is not trained again.

Example:
  python -m benchmarks.accuracy_tradeoff --dataset=folder --data_dir=ROOT
"""

from absl import flags

from benchmarks.measuring import result_flags, turn_flags
from benchmarks.training import flags as training_flags
from benchmarks.training import tradeoff
from common import cli
from converters.source_digest import versions
from edge.provenance import describe_run

result_flags.define("accuracy_tradeoff", more="; accuracy_tradeoff.png comes beside it")
training_flags.define(recipe="cifar10_40px", workdirs="build/accuracy_tradeoff")
turn_flags.define(rounds=40)
# So that --help shows them.
flags.adopt_module_key_flags(result_flags)
flags.adopt_module_key_flags(training_flags)
flags.adopt_module_key_flags(turn_flags)


def main() -> None:
    """Reads the flags, trains, converts, times, and writes the JSON file, table and picture."""
    destination = result_flags.read("accuracy_tradeoff")
    points = tradeoff.train_and_convert(training_flags.read(tradeoff.check_names))
    # The machine's load counts from here on.
    run = describe_run(destination.command, versions())
    run["points"] = tradeoff.timed(points, turn_flags.read())
    tradeoff.draw(run["points"], destination.document.parent / "accuracy_tradeoff.png")
    destination.write(run, tradeoff.table(run["points"]))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
