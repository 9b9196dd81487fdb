"""Checks int8 files of artifacts for the Edge TPU and compiles them in one run.

An artifact is the folder that shufflenet convert writes. `shufflenet convert --target=edgetpu`
checks and compiles each file that it writes separately.

Example:
  shufflenet edgetpu --artifact=digits,flowers
"""

from pathlib import Path

from absl import flags

from common import cli
from converters.edgetpu_target import flags as edgetpu_flags
from converters.edgetpu_target.artifacts import compile_artifacts
from converters.edgetpu_target.pipeline import advice, summary

_ARTIFACT = flags.DEFINE_list(
    "artifact",
    [],
    "Artifacts (shufflenet convert), separated by commas. Those of one run share the chip's "
    "memory; the first ones get it first.",
)
_FILE = flags.DEFINE_string(
    "file",
    None,
    "Name of the .tflite file in each artifact; by default its only int8 file made with "
    "--target=edgetpu.",
)
edgetpu_flags.define()
# So that --help shows them.
flags.adopt_module_key_flags(edgetpu_flags)


def main() -> None:
    """Reads the flags, checks, compiles and prints a line for each file."""
    folders = [Path(folder) for folder in _ARTIFACT.value]
    entries = compile_artifacts(folders, _FILE.value, edgetpu_flags.read())
    for path, entry in entries.items():
        print(f"{path}: {summary(entry)}")
    if remedy := advice(entries.values()):
        print(remedy)


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
