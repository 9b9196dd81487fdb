"""Measures what TFLite Micro needs when the beginning of a network is computed in bands.

No device is needed, and none is measured: arena and time are those of TFLite Micro's interpreter
on this machine, whose pointers are twice as long as a microcontroller's.

Example:
  python -m benchmarks.micro_memory --networks=v2-0.5x@96
"""

from pathlib import Path

from absl import flags

from benchmarks.measuring.results import Destination, define_flags, installed_versions
from common import cli
from common.cli import UserError
from converters.micro_target import flags as micro_flags
from converters.source_digest import versions
from trainers.startup import import_tensorflow

_DEFAULT = ["v2-0.5x@224", "v2-0.5x@96", "v1-0.25x-g3@96", "v2-16-32-64-128-512@96"]

_NETWORKS = flags.DEFINE_list(
    "networks", _DEFAULT, "The planner's networks with their pixels, separated by commas."
)
_CLASSES = flags.DEFINE_integer("classes", 1000, "Classes of each network.", lower_bound=2)
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
    if damaged := [name for name in _NETWORKS.value if not name.partition("@")[2].isdigit()]:
        raise UserError(f"--networks={damaged[0]} has no pixels; write it as v2-0.5x@96")
    packages = {
        **versions(),
        **installed_versions(("tflite-micro",), "pip install 'keras_shufflenet[micro]'"),
    }
    import_tensorflow()
    from benchmarks.measuring.micro_memory import measure_all, memory_table

    run = destination.start(packages)
    run["rows"] = measure_all(
        _NETWORKS.value, _CLASSES.value, settings, Path(_CACHE.value), _ROUNDS.value
    )
    destination.write(run, memory_table(run["rows"]))


if __name__ == "__main__":
    cli.run(main)
