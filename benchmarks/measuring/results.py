"""The results of a benchmark: a JSON file, and a table between two markers of a document.

Flags are defined by a call, not by the import: a module that defines flags is a command.
"""

import importlib.metadata
import os
import shlex
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from common.cli import UserError
from common.files import write_json, write_text
from common.pages.document import read_document, replace_section
from converters.source_digest import versions
from edge.provenance import describe, describe_run, warn_if_busy
from edge.running.side_by_side import Turns

FLAGS = flags.FLAGS
# The flags belong to the calling command, whose --help shows them.
flags.disclaim_key_flags()

# Of this machine.
LAST_CORE = (os.cpu_count() or 1) - 1


def define_flags(name: str, document: str = "docs/benchmarks.md", more: str = "") -> None:
    """Defines the flags that say where results go; a command calls it at its top.

    Args:
      name: of the benchmark.
      document: default of `--document`.
      more: appended to that flag's help.
    """
    flags.DEFINE_string("output", "benchmarks/results", f"Folder for {name}.json.")
    flags.DEFINE_string(
        "document", document, f"Markdown file that gets the table between its markers{more}."
    )


def define_turns(rounds: int) -> None:
    """Defines the flags of interleaved rounds, with this default of `--rounds`."""
    flags.DEFINE_integer(
        "rounds", rounds, "Rounds in each process; each runs every file.", lower_bound=1
    )
    flags.DEFINE_integer(
        "processes",
        5,
        "Processes for each network; memory addresses differ between them.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "invokes", 5, "Inferences of a file per round; their median counts.", lower_bound=1
    )
    flags.DEFINE_integer("core", 0, "CPU core to run on.", lower_bound=0, upper_bound=LAST_CORE)


def read_turns() -> Turns:
    """Returns what the command line says about the rounds."""
    return Turns(FLAGS.rounds, FLAGS.processes, FLAGS.invokes, FLAGS.core)


@dataclass(frozen=True)
class Destination:
    """Where a benchmark's results go.

    Attributes:
      name: of the benchmark, such as "latency".
      output: folder of the JSON file, `name`.json.
      document: markdown with the lines `<!-- name: begin -->` and `<!-- name: end -->`.
      command: the command that repeats the measurement.
    """

    name: str
    output: Path
    document: Path
    command: str

    @classmethod
    def from_flags(cls, name: str) -> "Destination":
        """Returns what the command line says; called first, because measuring takes long.

        Args:
          name: of the benchmark, `python -m benchmarks.NAME`.

        Raises:
          UserError: the document is missing.
        """
        document = Path(FLAGS.document)
        read_document(document)
        command = shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])
        return cls(name, Path(FLAGS.output), document, command)

    def start(self, packages: Mapping[str, str] | None = None, noisy: str = "") -> dict:
        """Returns the record of a run that starts now; called first, because converting loads too.

        Args:
          packages: versions by name; None: those that conversions depend on.
          noisy: what a busy machine disturbs, such as "times"; then stderr gets a warning.
        """
        run = describe_run(self.command, versions() if packages is None else packages)
        if noisy:
            warn_if_busy(run, noisy)
        return run

    def write(self, run: dict, table: str) -> None:
        """Writes the JSON file, puts the table into the document, and prints the table.

        Args:
          run: all that was measured, as JSON values, including what `start` returns.
          table: markdown.

        Raises:
          UserError: the document is missing or lacks the markers.
        """
        content = f"{table}\n\n{describe(run)}"
        text = replace_section(read_document(self.document), self.name, content)
        self.output.mkdir(parents=True, exist_ok=True)
        write_json(self.output / f"{self.name}.json", run)
        write_text(self.document, text)
        print(table)


def full_range(values: Sequence[float], digits: int, unit: str = "") -> str:
    """Returns the median with the minimum and maximum, for too few rounds for percentiles.

    Examples:
      >>> full_range([1.5, 1.7, 1.4], 1, unit="x")
      '**1.5x** (1.4-1.7)'
    """
    median = f"{statistics.median(values):.{digits}f}{unit}"
    return f"**{median}** ({min(values):.{digits}f}-{max(values):.{digits}f})"


def installed_versions(packages: Iterable[str], remedy: str) -> dict[str, str]:
    """Returns the versions of packages by name.

    Raises:
      UserError: some are not installed; the message names them and the remedy.
    """
    found, missing = {}, []
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        raise UserError(f"not installed: {', '.join(missing)}; {remedy}")
    return found
