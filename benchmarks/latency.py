"""Measures int8 latency: the canonical conversion, the deployment graph, and a lower bound.

Canonical is the usual conversion of the Keras model, with TFLiteConverter. The deployment graph is
the same network, rewritten without BatchNorm and, where possible, without channel shuffles. The
lower bound (`floor` in the results) has only the convolutions. Weights and calibration images are
random: latency does not depend on them. Each network's files run in interleaved rounds, in
processes pinned to one core, with one thread.

Example:
  python -m benchmarks.latency --networks=v2-1x,v1-1x-g3
"""

from pathlib import Path

from absl import flags

from benchmarks.measuring.results import Destination, define_flags, define_turns, read_turns
from common import cli
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks", None, "Networks to measure, separated by commas; all by default."
)
_CACHE = flags.DEFINE_string(
    "cache", "build/benchmarks", "Folder of converted files, kept for the next run."
)
define_flags("latency")
define_turns(rounds=40)


def main() -> None:
    """Reads the flags, converts, measures, and writes the JSON file and the table."""
    destination = Destination.from_flags("latency")
    import_tensorflow()
    from benchmarks.measuring.latencies import convert_all, latency_table, measure_all
    from benchmarks.measuring.networks import check_names

    networks = check_names(_NETWORKS.value)
    run = destination.start(noisy="times")
    files = convert_all(networks, Path(_CACHE.value))
    run["networks"] = measure_all(files, read_turns())
    destination.write(run, latency_table(run["networks"]))


if __name__ == "__main__":
    cli.run(main)
