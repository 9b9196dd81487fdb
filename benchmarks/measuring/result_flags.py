"""The flags that say where a benchmark's results go.

They are defined by a call and not by the import: a module with flags is a command.
"""

import shlex
import sys
from pathlib import Path

from absl import flags

from benchmarks.measuring.report import Destination
from common.document import read_document

FLAGS = flags.FLAGS


def define(name: str, document: str = "docs/benchmarks.md", more: str = "") -> None:
    """Defines the flags; a command calls it at its top.

    Args:
      name: of the benchmark.
      document: default of `--document`.
      more: of that flag's help, what else comes there.
    """
    flags.DEFINE_string("output", "benchmarks/results", f"Folder for {name}.json.")
    flags.DEFINE_string(
        "document", document, f"Markdown that gets the table between its markers{more}."
    )


def read(name: str) -> Destination:
    """Returns what the command line says; called first, because measuring takes long.

    Args:
      name: of the benchmark, `python -m benchmarks.NAME`.

    Raises:
      UserError: the document is missing.
    """
    document = Path(FLAGS.document)
    read_document(document)
    command = shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])
    return Destination(name, Path(FLAGS.output), document, command)
