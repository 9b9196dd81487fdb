"""Prints what a network costs: multiply-adds, parameters, activation bytes, memory access cost.

Example:
  shufflenet complexity --model=shufflenet_v2 --scale=1.0
"""

import dataclasses
import json
import sys
from pathlib import Path

import keras
from absl import app, flags

from keras_shufflenet.complexity.counting import Complexity, complexity
from keras_shufflenet.shufflenet_v1 import ShuffleNetV1
from keras_shufflenet.shufflenet_v2 import ShuffleNetV2

NETWORKS = ("shufflenet_v1", "shufflenet_v2")
# Far above any network that trains; the weights of larger ones would fill the memory.
_LIMITS = {"input_size": 8192, "classes": 100_000, "bytes_per_value": 16}

_MODEL = flags.DEFINE_string(
    "model", None, "shufflenet_v1, shufflenet_v2 or the path of a .keras file."
)
_SCALE = flags.DEFINE_float("scale", 1.0, "Scale of the network's widths, as in the papers.")
_GROUPS = flags.DEFINE_integer("groups", 3, "Groups of shufflenet_v1's 1x1 convolutions.")
_INPUT_SIZE = flags.DEFINE_integer("input_size", 224, "Height and width of the input, in pixels.")
_CLASSES = flags.DEFINE_integer("classes", 1000, "Number of classes.")
_SMALL_IMAGES = flags.DEFINE_bool(
    "small_images", False, "Network for 32 to 64 pixels: stem of stride 1, no max-pool."
)
_PADDING = flags.DEFINE_enum(
    "padding", "same", ["same", "symmetric"], "Padding at stride 2: TensorFlow's or PyTorch's."
)
_SE = flags.DEFINE_bool("se", False, "Squeeze-and-Excitation in shufflenet_v1.")
_BYTES_PER_VALUE = flags.DEFINE_integer(
    "bytes_per_value", 4, "Bytes of an activation: 4 for float32, 1 for int8."
)
_FORMAT = flags.DEFINE_enum(
    "format",
    "table",
    ["table", "totals", "json"],
    "table: every layer and the totals; totals: only the totals; json: everything as JSON.",
)


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags, as parsed."""

    model: str | None
    scale: float
    groups: int
    input_size: int
    classes: int
    small_images: bool
    padding: str
    se: bool


def load_or_build(options: Options) -> keras.Model:
    """Returns the model of a `.keras` file, or a network with random weights.

    Raises:
      ValueError: the name or an option is wrong, or the file is damaged.
      FileNotFoundError: there is no such file.
    """
    if options.model not in NETWORKS:
        return _load(options.model)
    common = {
        "scale": options.scale,
        "input_shape": (options.input_size, options.input_size, 3),
        "classes": options.classes,
        "small_images": options.small_images,
        "padding": options.padding,
    }
    if options.model == "shufflenet_v2":
        return ShuffleNetV2(**common)
    return ShuffleNetV1(groups=options.groups, se=options.se, **common)


def _load(path: str | None) -> keras.Model:
    if path is None:
        raise ValueError(
            f"--model is missing; name {' or '.join(NETWORKS)}, or the path of a .keras file"
        )
    if not path.endswith(".keras"):
        raise ValueError(
            f"--model must be one of {', '.join(NETWORKS)} or the path of a .keras file. "
            f"Received: {path}"
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"--model names a file that does not exist: {path}")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras lets errors of zipfile, json and h5py through.
        reason = "".join(str(error).strip().splitlines()[:1])
        raise ValueError(f"--model cannot be loaded from {path}: {reason}") from error


def show(counted: Complexity, output_format: str) -> None:
    """Prints the counts as a table or as JSON."""
    if output_format == "json":
        print(json.dumps(counted.to_dict()))
    else:
        print(counted.to_table(layers=output_format == "table"))


def main() -> None:
    """Reads the flags, counts and prints."""
    for name, limit in _LIMITS.items():
        if not 1 <= (value := flags.FLAGS[name].value) <= limit:
            raise ValueError(f"--{name} must be from 1 to {limit:,}. Received: {value}")
    options = Options(
        model=_MODEL.value,
        scale=_SCALE.value,
        groups=_GROUPS.value,
        input_size=_INPUT_SIZE.value,
        classes=_CLASSES.value,
        small_images=_SMALL_IMAGES.value,
        padding=_PADDING.value,
        se=_SE.value,
    )
    counted = complexity(load_or_build(options), _BYTES_PER_VALUE.value)
    show(counted, _FORMAT.value)


def entry_point() -> None:
    """Runs the command: a user's mistake is one line on stderr and exit code 1."""
    app.run(_guarded, flags_parser=_parsed)


def _parsed(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        # Absl's own report has several lines.
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _guarded(argv: list[str]) -> int:
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected argument {argv[1]!r}; flags look like --name=value")
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    entry_point()
