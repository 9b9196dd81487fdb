"""Compares ShuffleNets with MLPerf Tiny's reference models: flash, arena, time and accuracy.

Flash, arena and time are those of networks with random weights in TFLite Micro's interpreter on
this machine: they compare graphs, and no board is measured. With --train the candidates for
CIFAR-10 are trained; the same command resumes. The choice is made on a part of the training images;
the test images are for the chosen network alone. For visual wake words there are costs only.

Example:
  python -m experiments.mlperf_tiny --references=tiny --train --dataset=folder --data_dir=cifar10
"""

import shlex
import sys
from dataclasses import replace
from pathlib import Path

from absl import flags

from common import cli
from common.cli import UserError
from common.files import write_json, write_text
from common.pages.document import read_document, replace_section
from converters.source_digest import versions
from edge.provenance import describe, describe_run, warn_if_busy
from experiments.training import config as training
from trainers.startup import import_tensorflow

_NAME = "mlperf_tiny"
_REFERENCES = flags.DEFINE_string(
    "references",
    None,
    "Folder with the int8 reference models of MLPerf Tiny (github.com/mlcommons/tiny).",
)
_OUTPUT = flags.DEFINE_string(
    "output", "experiments_results", "Folder of the result, mlperf_tiny.json, and the trainings."
)
_CACHE = flags.DEFINE_string("cache", "build/experiments", "Folder of measured arenas, kept.")
_ROUNDS = flags.DEFINE_integer("rounds", 15, "Inferences of each file, in turn.", lower_bound=1)
_DOCUMENT = flags.DEFINE_string(
    "document",
    None,
    "Markdown file in which the tables replace the lines between <!-- mlperf_tiny: begin --> and "
    "<!-- mlperf_tiny: end -->.",
)
training.define_flags()


def main() -> None:
    """Reads the flags, measures, trains if asked to, and writes the JSON file and the tables."""
    if not _REFERENCES.value:
        raise UserError("--references is missing; give it a folder with MLPerf Tiny's models")
    document = Path(_DOCUMENT.value) if _DOCUMENT.value else None
    if document:
        # Rejects a document without the markers before anything is measured.
        replace_section(read_document(document), _NAME, "")
    output = Path(_OUTPUT.value)
    queue = training.read_flags(_NAME)
    import_tensorflow()
    from experiments.tables.mlperf_tiny import SPLITS, run, to_markdown

    if queue is not None:
        queue = replace(queue, values={**queue.values, **SPLITS})
    about = describe_run(
        shlex.join(["python", "-m", f"experiments.{_NAME}", *sys.argv[1:]]), versions()
    )
    warn_if_busy(about, "times")
    folder = training.trainings_folder(output, _NAME)
    found = run(Path(_REFERENCES.value), Path(_CACHE.value), _ROUNDS.value, folder, queue)
    tables = to_markdown(found)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / f"{_NAME}.json", {**about, **found})
    if document:
        content = f"{tables}\n\n{describe(about)}"
        write_text(document, replace_section(read_document(document), _NAME, content))
    print(tables)


if __name__ == "__main__":
    cli.run(main)
