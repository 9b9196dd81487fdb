"""Compares V2, V1 and MobileNetV2 on CIFAR-10: accuracy against multiply-adds and int8 latency.

Like V2's Figure 1, for networks of equal multiply-adds. Each is trained with the same recipe for
the same time, converted to int8 and timed on one thread; a trained network is not trained again.

Example:
  python -m benchmarks.accuracy_tradeoff --dataset=folder --data_dir=ROOT
"""

from benchmarks.measuring.results import Destination, define_flags, define_turns, read_turns
from benchmarks.training import tradeoff, trainings
from common import cli

define_flags("accuracy_tradeoff", more="; accuracy_tradeoff.png is written next to it")
trainings.define_flags(recipe="cifar10_40px", workdirs="build/accuracy_tradeoff")
define_turns(rounds=40)


def main() -> None:
    """Reads the flags, trains, converts, times, and writes the JSON file, table and picture."""
    destination = Destination.from_flags("accuracy_tradeoff")
    points = tradeoff.train_and_convert(trainings.read_flags(tradeoff.ALL))
    # Only now: the recorded load must be that of the timing, not of the training.
    run = destination.start()
    run["points"] = tradeoff.timed(points, read_turns())
    tradeoff.draw(run["points"], destination.document.parent / "accuracy_tradeoff.png")
    destination.write(run, tradeoff.table(run["points"]))


if __name__ == "__main__":
    cli.run(main)
