"""Measures accuracy on CIFAR-10: trained in float, quantized in three ways.

Trains each network with the recipe `cifar10`, trains it on with quantization, converts, and runs
every test image through every file. An interrupted run goes on where it stopped: the trainings
lie in --workdirs.

Example:
  python -m benchmarks.accuracy --dataset=folder --data_dir=ROOT
"""

import shlex
import sys
from pathlib import Path

from absl import flags

from benchmarks.report import write_results
from edge.provenance import describe_run
from trainers import cli
from trainers.document import read_document
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks", None, "Networks to train, separated by commas; all by default."
)
_DATASET = flags.DEFINE_string("dataset", "cifar10", "As --dataset of trainers.train.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As --data_dir of trainers.train.")
_EPOCHS = flags.DEFINE_integer("epochs", 20, "Of the float training.", lower_bound=1)
_QAT_EPOCHS = flags.DEFINE_integer("qat_epochs", 4, "Trained with quantization.", lower_bound=1)
_WORKDIRS = flags.DEFINE_string("workdirs", "build/accuracy", "Folder of the trainings, kept.")
_OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder for accuracy.json.")
_DOCUMENT = flags.DEFINE_string(
    "document", "docs/benchmarks.md", "Markdown that gets the table between its markers."
)


def main() -> None:
    """Reads the flags, trains, converts, evaluates, and writes the JSON file and the table."""
    document = Path(_DOCUMENT.value)
    read_document(document)
    command = shlex.join(["python", "-m", "benchmarks.accuracy", *sys.argv[1:]])
    import_tensorflow()
    from benchmarks.trainings import AccuracyConfig, accuracy_table, check_names, measure
    from converters.source_digest import versions

    config = AccuracyConfig(
        networks=check_names(_NETWORKS.value),
        dataset=_DATASET.value,
        data_dir=None if _DATA_DIR.value is None else str(Path(_DATA_DIR.value).absolute()),
        epochs=_EPOCHS.value,
        qat_epochs=_QAT_EPOCHS.value,
        workdirs=Path(_WORKDIRS.value),
    )
    run = describe_run(command, versions())
    run["networks"] = {name: measure(name, config) for name in config.networks}
    table = accuracy_table(run["networks"])
    write_results(Path(_OUTPUT.value), document, "accuracy", run, table)
    print(table)


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
