"""Measures int8 latency: the canonical conversion, the deployment graph, and a floor.

Weights and calibration images are random: latency does not depend on them. Each network's files
take turns in processes pinned to one core, with one thread.

Example:
  python -m benchmarks.latency --networks=v2-1x,v1-1x-g3
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
    "networks", None, "Networks to measure, separated by commas; all by default."
)
_OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder for latency.json.")
_DOCUMENT = flags.DEFINE_string(
    "document", "docs/benchmarks.md", "Markdown that gets the table between its markers."
)
_CACHE = flags.DEFINE_string("cache", "build/benchmarks", "Folder of converted files, kept.")
turn_flags.define(rounds=40)
# So that --help shows them.
flags.adopt_module_key_flags(turn_flags)


def main() -> None:
    """Reads the flags, converts, measures, and writes the JSON file and the table."""
    document = Path(_DOCUMENT.value)
    read_document(document)
    command = shlex.join(["python", "-m", "benchmarks.latency", *sys.argv[1:]])
    import_tensorflow()
    from benchmarks.networks import check_names
    from benchmarks.side_by_side import LatencyConfig, convert_all, latency_table, measure_all
    from converters.source_digest import versions

    config = LatencyConfig(
        networks=check_names(_NETWORKS.value),
        cache=Path(_CACHE.value),
        turns=turn_flags.read(),
    )
    # First, because converting is load as well.
    run = describe_run(command, versions())
    if run["warning"]:
        print(f"warning: {run['warning']}; the times will be noisy", file=sys.stderr)
    files = convert_all(config)
    run["networks"] = measure_all(config, files)
    table = latency_table(run["networks"])
    write_results(Path(_OUTPUT.value), document, "latency", run, table)
    print(table)


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
