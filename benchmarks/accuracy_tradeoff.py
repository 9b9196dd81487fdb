"""Compares V2, V1 and MobileNetV2 on CIFAR-10: accuracy against multiply-adds and int8 latency.

As V2's Figure 1, for networks of equal multiply-adds. Each is trained with the recipe `cifar10` and
the same budget, converted to int8 and timed on one thread; a trained network is not trained again,
and `benchmarks.accuracy` uses the same folder.

Example:
  python -m benchmarks.accuracy_tradeoff --dataset=folder --data_dir=ROOT
"""

import shlex
import sys
from pathlib import Path

from absl import flags

from benchmarks import turn_flags
from benchmarks.report import write_results
from edge.provenance import describe_run
from trainers import cli
from trainers.document import read_document
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks", None, "Networks to compare, separated by commas; all by default."
)
_DATASET = flags.DEFINE_string("dataset", "cifar10", "As --dataset of trainers.train.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As --data_dir of trainers.train.")
_EPOCHS = flags.DEFINE_integer("epochs", 20, "Of every training.", lower_bound=1)
_WORKDIRS = flags.DEFINE_string("workdirs", "build/accuracy", "Folder of the trainings, kept.")
_OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder for accuracy_tradeoff.json.")
_DOCUMENT = flags.DEFINE_string(
    "document",
    "docs/benchmarks.md",
    "Markdown that gets the table between its markers; accuracy_tradeoff.png comes beside it.",
)
turn_flags.define(rounds=40)
# So that --help shows them.
flags.adopt_module_key_flags(turn_flags)


def main() -> None:
    """Reads the flags, trains, converts, times, and writes the JSON file, table and picture."""
    document = Path(_DOCUMENT.value)
    read_document(document)
    command = shlex.join(["python", "-m", "benchmarks.accuracy_tradeoff", *sys.argv[1:]])
    import_tensorflow()
    from benchmarks import tradeoff
    from benchmarks.trainings import AccuracyConfig
    from converters.source_digest import versions

    config = AccuracyConfig(
        networks=tradeoff.check_names(_NETWORKS.value),
        dataset=_DATASET.value,
        data_dir=None if _DATA_DIR.value is None else str(Path(_DATA_DIR.value).absolute()),
        epochs=_EPOCHS.value,
        qat_epochs=0,
        workdirs=Path(_WORKDIRS.value),
    )
    points = tradeoff.train_and_convert(config)
    # The machine's load counts from here on.
    run = describe_run(command, versions())
    run["points"] = tradeoff.timed(points, turn_flags.read())
    tradeoff.draw(run["points"], document.parent / "accuracy_tradeoff.png")
    table = tradeoff.table(run["points"])
    write_results(Path(_OUTPUT.value), document, "accuracy_tradeoff", run, table)
    print(table)


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
