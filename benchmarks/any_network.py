"""Measures the deployment graphs of keras.applications: exactness, operators, int8 and latency.

Each network has random weights: what the rewriting does to it does not depend on them, and nothing
is downloaded. BatchNormalization's statistics are those of random images, so that activations have
usual sizes. For each: the error of the float file, how far the int8 logits of the usual conversion
(TFLiteConverter) and of ours are from Keras, the operators of both files, and their latency, in
interleaved rounds, one image, one thread, in processes pinned to one core.

What is converted already is in the cache and is not converted again.

Example:
  python -m benchmarks.any_network --networks=mobilenet-v2,resnet50
"""

from pathlib import Path

from absl import flags

from benchmarks.measuring.results import Destination, define_flags, define_turns, read_turns
from common import cli
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks", None, "Networks to measure, separated by commas; all by default."
)
_SIZE = flags.DEFINE_integer("size", 224, "Height and width of the images.", lower_bound=75)
_CACHE = flags.DEFINE_string(
    "cache", "build/any_network", "Folder of converted files, kept for the next run."
)
define_flags("any_network", document="docs/deployment.md")
define_turns(rounds=10)


def main() -> None:
    """Reads the flags, converts, compares, times, and writes the JSON file and the table."""
    destination = Destination.from_flags("any_network")
    import_tensorflow()
    from benchmarks.measuring import any_networks

    names = any_networks.check_names(_NETWORKS.value)
    networks = {name: any_networks.NETWORKS[name] for name in names}
    converted = any_networks.convert_all(networks, _SIZE.value, Path(_CACHE.value))
    # Only now: the recorded load must be that of the timing, not of the conversions.
    run = destination.start(noisy="times") | {"size": _SIZE.value}
    run["networks"] = any_networks.timed(converted, read_turns())
    destination.write(run, any_networks.table(run))


if __name__ == "__main__":
    cli.run(main)
