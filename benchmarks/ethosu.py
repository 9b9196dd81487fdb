"""Compares the usual conversion and ours on Arm's Ethos-U55, U65 and U85, as Vela models them.

No device is needed, and none is measured: cycles and memory are estimates of Vela, Arm's compiler.

Example:
  python -m benchmarks.ethosu --networks=v2-0.5x
"""

from pathlib import Path

from absl import flags

from benchmarks.measuring.results import Destination, define_flags, installed_versions
from common import cli
from common.tflite.vela_settings import VelaSettings, check_settings
from converters.source_digest import versions
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks", ["v2-0.5x", "v2-1x", "v1-1x-g3"], "Networks, separated by commas."
)
_ACCELERATORS = flags.DEFINE_list(
    "accelerators",
    ["ethos-u55-128", "ethos-u65-256", "ethos-u85-256"],
    "Vela's accelerator configurations, separated by commas.",
)
_CACHE = flags.DEFINE_string(
    "cache", "build/benchmarks", "Folder of converted files, kept for the next run."
)
define_flags("ethosu", document="docs/ethosu.md")


def main() -> None:
    """Reads the flags, converts, compiles, and writes the JSON file and the table."""
    destination = Destination.from_flags("ethosu")
    for accelerator in _ACCELERATORS.value:
        check_settings(accelerator, VelaSettings())
    tools = installed_versions(("ethos-u-vela",), "pip install 'keras_shufflenet[ethosu]'")
    import_tensorflow()
    from benchmarks.measuring.ethosu import ethosu_table, measure_all
    from benchmarks.measuring.networks import check_names

    networks = check_names(_NETWORKS.value)
    run = destination.start({**versions(), **tools})
    run["rows"] = measure_all(networks, _ACCELERATORS.value, Path(_CACHE.value))
    # Others may have used this machine: they do not change an estimate.
    run["warning"] = None
    destination.write(run, ethosu_table(run["rows"]))


if __name__ == "__main__":
    cli.run(main)
