"""Measures int8 latency: the canonical conversion, the deployment graph, and a floor.

Weights and calibration images are random: latency does not depend on them. Each network's files
take turns in processes pinned to one core, with one thread.

Example:
  python -m benchmarks.latency --networks=v2-1x,v1-1x-g3
"""

from pathlib import Path

from absl import flags

from benchmarks.measuring import result_flags, turn_flags
from common import cli
from edge.provenance import describe_run, warn_if_busy
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks", None, "Networks to measure, separated by commas; all by default."
)
_CACHE = flags.DEFINE_string("cache", "build/benchmarks", "Folder of converted files, kept.")
result_flags.define("latency")
turn_flags.define(rounds=40)
# So that --help shows them.
flags.adopt_module_key_flags(result_flags)
flags.adopt_module_key_flags(turn_flags)


def main() -> None:
    """Reads the flags, converts, measures, and writes the JSON file and the table."""
    destination = result_flags.read("latency")
    import_tensorflow()
    from benchmarks.measuring.networks import check_names
    from benchmarks.measuring.side_by_side import (
        LatencyConfig,
        convert_all,
        latency_table,
        measure_all,
    )
    from converters.source_digest import versions

    config = LatencyConfig(
        networks=check_names(_NETWORKS.value),
        cache=Path(_CACHE.value),
        turns=turn_flags.read(),
    )
    # First, because converting is load as well.
    run = describe_run(destination.command, versions())
    warn_if_busy(run, "times")
    files = convert_all(config)
    run["networks"] = measure_all(config, files)
    destination.write(run, latency_table(run["networks"]))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
