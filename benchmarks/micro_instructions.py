"""Counts instructions per inference on Cortex-M4 and M55 with CMSIS-NN, in QEMU.

No microcontroller is measured: QEMU counts instructions, exactly and the same in every run, but
knows neither caches nor waiting for memory. Instructions are no milliseconds.

Example:
  python -m benchmarks.micro_instructions --tflite_micro=../tflite-micro --references=tiny
"""

from pathlib import Path

from absl import flags

from benchmarks.measuring.results import Destination, define_flags, installed_versions
from common import cli
from common.cli import UserError
from converters.source_digest import versions
from trainers.startup import import_tensorflow

_DEFAULT = [
    *("v2-0.5x@96:1000", "v1-0.25x-g3@96:1000"),
    # As small as visual wake words needs it.
    "v2-16-32-64-128-512@96:2",
]
_NETWORKS = flags.DEFINE_list(
    "networks",
    _DEFAULT,
    "The planner's networks, each with its pixels and classes, separated by commas.",
)
_REFERENCES = flags.DEFINE_string(
    "references", None, "Folder with the reference models of MLPerf Tiny, to run beside them."
)
_TFLITE_MICRO = flags.DEFINE_string(
    "tflite_micro",
    None,
    "Checkout of TFLite Micro whose Makefile has built its library for each chip (docs/micro.md).",
)
_CHIPS = flags.DEFINE_list("chips", ["m4", "m55"], "Some of m4, m7, m55, separated by commas.")
_CACHE = flags.DEFINE_string(
    "cache", "build/benchmarks", "Folder of converted files, kept for the next run."
)
define_flags("micro_instructions", document="docs/micro.md")


def main() -> None:
    """Reads the flags, converts, counts, and writes the JSON file and the table."""
    destination = Destination.from_flags("micro_instructions")
    if not _TFLITE_MICRO.value:
        raise UserError("--tflite_micro is missing; give it a checkout of TFLite Micro")
    packages = {
        **versions(),
        **installed_versions(("tflite-micro",), "pip install 'keras_shufflenet[micro]'"),
    }
    import_tensorflow()
    from benchmarks.measuring.micro_instructions import (
        check_tools,
        count_all,
        files,
        instructions_table,
        tool_versions,
    )

    checkout = Path(_TFLITE_MICRO.value)
    libraries = check_tools(_CHIPS.value, checkout)
    run = destination.start({**packages, **tool_versions()})
    references = Path(_REFERENCES.value) if _REFERENCES.value else None
    contents = files(_NETWORKS.value, references, Path(_CACHE.value))
    run["rows"] = count_all(contents, checkout, libraries)
    # Others may have used this machine: they do not change a count.
    run["warning"] = None
    destination.write(run, instructions_table(run["rows"]))


if __name__ == "__main__":
    cli.run(main)
