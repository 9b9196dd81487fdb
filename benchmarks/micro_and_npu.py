"""Compares graphs on small devices: TFLite Micro's memory and time, Vela's cycles for Ethos-U.

No device is needed, and none is measured: the times are of TFLite Micro's portable kernels on
this machine, the cycles are Vela's own estimate. Both are good for comparing graphs.

Example:
  python -m benchmarks.micro_and_npu --networks=v2-0.5x
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
    "networks", ["v2-0.5x", "v2-1x", "v1-1x-g3"], "Networks, separated by commas."
)
_OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder for micro_and_npu.json.")
_DOCUMENT = flags.DEFINE_string(
    "document", "docs/benchmarks.md", "Markdown that gets the table between its markers."
)
_CACHE = flags.DEFINE_string("cache", "build/benchmarks", "Folder of converted files, kept.")
_RUNS = flags.DEFINE_integer("runs", 9, "Inferences in TFLite Micro.", lower_bound=1)


def main() -> None:
    """Reads the flags, converts, measures, and writes the JSON file and the table."""
    document = Path(_DOCUMENT.value)
    read_document(document)
    command = shlex.join(["python", "-m", "benchmarks.micro_and_npu", *sys.argv[1:]])
    import_tensorflow()
    from benchmarks.networks import check_names
    from benchmarks.small_devices import (
        SmallDevicesConfig,
        comparison_table,
        measure_all,
        tool_versions,
    )
    from converters.source_digest import versions

    tools = tool_versions()
    config = SmallDevicesConfig(check_names(_NETWORKS.value), Path(_CACHE.value), _RUNS.value)
    run = describe_run(command, {**versions(), **tools})
    run["rows"] = measure_all(config)
    table = comparison_table(run["rows"])
    write_results(Path(_OUTPUT.value), document, "micro_and_npu", run, table)
    print(table)


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
