"""Inspects a checkpoint, or converts it to a `.keras` file or back.

Example:
  shufflenet checkpoints inspect checkpoint.pth
  shufflenet checkpoints convert checkpoint.pth --output=model.keras
  shufflenet checkpoints convert checkpoint.pth#ema --output=model.keras
  shufflenet checkpoints convert model.keras --output=model.safetensors
"""

import dataclasses
import sys
from pathlib import Path

from absl import app, flags

from keras_shufflenet.checkpoints.conversion import convert, inspect
from keras_shufflenet.checkpoints.files import check_file, file_of

COMMANDS = ("convert", "inspect")

_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "convert: the file to write: .keras from a PyTorch checkpoint; .pth, .safetensors or .npz from "
    "a .keras file.",
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --output if it exists.")
_INPUT_SIZE = flags.DEFINE_integer(
    "input_size", 224, "convert: height and width of the .keras model's input, in pixels."
)


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line, as parsed."""

    command: str
    file: Path
    output: Path | None
    overwrite: bool
    input_size: int


def main(arguments: list[str]) -> None:
    """Reads the command line and runs the command."""
    if len(arguments) != 2 or arguments[0] not in COMMANDS:
        raise ValueError(
            f"name a command, {' or '.join(COMMANDS)}, and a file. Received: {' '.join(arguments)}"
        )
    options = Options(
        command=arguments[0],
        file=Path(arguments[1]),
        output=None if _OUTPUT.value is None else Path(_OUTPUT.value),
        overwrite=_OVERWRITE.value,
        input_size=_INPUT_SIZE.value,
    )
    check_file(file_of(options.file)[0])
    if options.command == "inspect":
        inspect(options.file)
    elif options.output is None:
        raise ValueError("--output is missing; name the file to write")
    else:
        convert(options.file, options.output, options.overwrite, options.input_size)


def entry_point() -> None:
    """Runs the command: a user's mistake is one line on stderr and exit code 1."""
    app.run(_guarded)


def _guarded(argv: list[str]) -> int:
    try:
        main(argv[1:])
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    entry_point()
