"""Compares graphs for small devices: TFLite Micro's memory and time, Vela's cycles for Ethos-U.

No device is needed, and none is measured: the times are those of TFLite Micro's portable kernels
on this machine, the cycles are estimates of Vela, Arm's compiler. Use both only to compare graphs.

Example:
  python -m benchmarks.micro_and_npu --networks=v2-0.5x
"""

from pathlib import Path

from absl import flags

from benchmarks.measuring.results import Destination, define_flags
from common import cli
from converters.source_digest import versions
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks", ["v2-0.5x", "v2-1x", "v1-1x-g3"], "Networks, separated by commas."
)
_CACHE = flags.DEFINE_string(
    "cache", "build/benchmarks", "Folder of converted files, kept for the next run."
)
_RUNS = flags.DEFINE_integer("runs", 9, "Inferences in TFLite Micro.", lower_bound=1)
define_flags("micro_and_npu")


def main() -> None:
    """Reads the flags, converts, measures, and writes the JSON file and the table."""
    destination = Destination.from_flags("micro_and_npu")
    import_tensorflow()
    from benchmarks.measuring.networks import check_names
    from benchmarks.measuring.small_devices import comparison_table, measure_all, tool_versions

    tools, networks = tool_versions(), check_names(_NETWORKS.value)
    run = destination.start({**versions(), **tools})
    run["rows"] = measure_all(networks, Path(_CACHE.value), _RUNS.value)
    destination.write(run, comparison_table(run["rows"]))


if __name__ == "__main__":
    cli.run(main)
