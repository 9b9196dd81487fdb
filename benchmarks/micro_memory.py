"""Measures what TFLite Micro needs when the beginning of a network is computed in bands.

No device is needed, and none is measured: arena and time are those of TFLite Micro's interpreter
on this machine, whose pointers are twice as long as a microcontroller's.

Example:
  python -m benchmarks.micro_memory --networks=v2-0.5x@96:1000
"""

from pathlib import Path

from absl import flags

from benchmarks.measuring.results import Destination, define_flags, installed_versions
from common import cli
from converters.micro_target import flags as micro_flags
from converters.source_digest import versions
from trainers.startup import import_tensorflow

_DEFAULT = [
    *("v2-0.5x@224:1000", "v2-0.5x@96:1000", "v1-0.25x-g3@96:1000"),
    # As small as visual wake words needs it.
    "v2-16-32-64-128-512@96:2",
]
_NETWORKS = flags.DEFINE_list(
    "networks",
    _DEFAULT,
    "The planner's networks, each with its pixels and classes, separated by commas.",
)
_CACHE = flags.DEFINE_string(
    "cache", "build/benchmarks", "Folder of converted files, kept for the next run."
)
_ROUNDS = flags.DEFINE_integer("rounds", 9, "Inferences of each file, in turn.", lower_bound=1)
micro_flags.define()
flags.adopt_module_key_flags(micro_flags)
define_flags("micro_memory", document="docs/micro.md")


def main() -> None:
    """Reads the flags, converts, measures, and writes the JSON file and the table."""
    destination, settings = Destination.from_flags("micro_memory"), micro_flags.read()
    packages = {
        **versions(),
        **installed_versions(("tflite-micro",), "pip install 'keras_shufflenet[micro]'"),
    }
    import_tensorflow()
    from benchmarks.measuring.micro_memory import measure_all, memory_table

    run = destination.start(packages)
    run["rows"] = measure_all(_NETWORKS.value, settings, Path(_CACHE.value), _ROUNDS.value)
    destination.write(run, memory_table(run["rows"]))


if __name__ == "__main__":
    cli.run(main)
