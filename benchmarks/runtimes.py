"""Compares our int8 network in LiteRT with ONNX Runtime, OpenVINO and ncnn, on one thread.

Every runtime gets the same network with the same weights, in float32 and int8, with its channel
shuffles and without. Its results are compared with those of Keras before it is timed. Weights are
random: nothing here is evidence of accuracy.

Example:
  python -m benchmarks.runtimes --networks=v2-1x --runtimes=onnxruntime
"""

from pathlib import Path

from absl import flags

from benchmarks.measuring.results import Destination, define_flags, define_turns, read_turns
from benchmarks.other_runtimes.models import PACKAGES
from benchmarks.other_runtimes.models import versions as runtime_versions
from common import cli
from common.choices import choose
from converters.source_digest import versions
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks",
    ["v2-0.5x", "v2-1x", "v2-1.5x", "v2-2x", "v1-1x-g3"],
    "Networks, separated by commas.",
)
_RUNTIMES = flags.DEFINE_list(
    "runtimes",
    None,
    "Runtimes to compare with LiteRT, some of onnxruntime, openvino, ncnn; all by default.",
)
_CACHE = flags.DEFINE_string(
    "cache", "build/benchmarks", "Folder of converted files, kept for the next run."
)
define_flags("runtimes")
define_turns(rounds=20)


def main() -> None:
    """Reads the flags, converts, checks, measures, and writes the JSON file and the table."""
    destination = Destination.from_flags("runtimes")
    runtimes = choose("runtime", _RUNTIMES.value, PACKAGES)
    packages = runtime_versions(runtimes)
    import_tensorflow()
    from benchmarks.measuring.networks import check_names
    from benchmarks.other_runtimes.comparison import RuntimesConfig, compare_all, runtimes_table

    config = RuntimesConfig(
        networks=check_names(_NETWORKS.value),
        runtimes=runtimes,
        cache=Path(_CACHE.value),
        turns=read_turns(),
    )
    run = destination.start({**versions(), **packages}, noisy="times")
    run["networks"] = compare_all(config)
    destination.write(run, runtimes_table(run["networks"]))


if __name__ == "__main__":
    cli.run(main)
