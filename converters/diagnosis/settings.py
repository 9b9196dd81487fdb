"""The settings of `converters.agreement` and `converters.layer_error`, and their flags.

`define` defines the flags, not the import of this module: a module with flags is a command.
"""

from dataclasses import dataclass, field
from pathlib import Path

from absl import flags

from common.cli import UserError, check_bounds
from converters.graph.targets import LOWERINGS
from converters.options import DEFAULT_METHOD, MAX_IMAGES, METHODS, MIN_CALIBRATION_IMAGES
from converters.source import flags as source_flags
from converters.source.flags import ModelFlags

FLAGS = flags.FLAGS
# What is told of a `.keras` file.
_OF_FILE = tuple(name for name in source_flags.ALL if name != "outputs")


@dataclass(frozen=True)
class ReportConfig:
    """Which quantized network to examine, and with how many images.

    Attributes:
      model: workdir of the float training, whose evaluation images are used, or a `.keras` file.
      qat: folder of a quantization-aware training, or None for calibrated ranges.
      target: target of the deployment graph's lowering; None is cpu, or the target of `qat`.
      ranges: how calibration chooses the ranges; None is the default, or the method of `qat`.
      images: number of evaluation images, or all if the split has fewer.
      calibration_images: number of training images that the ranges come from.
      output: folder for the report's files, or None.
      data_dir: where the data is, if it has moved since the training, or None; of a `.keras` file,
        its photographs.
      given: what else is told of a `.keras` file.

    Raises:
      UserError: a value cannot be used; the message names its flag.
    """

    model: Path
    qat: Path | None
    target: str | None
    ranges: str | None
    images: int
    calibration_images: int
    output: Path | None
    data_dir: str | None = None
    given: ModelFlags = field(default_factory=ModelFlags)

    def __post_init__(self):
        self.given.check_for(self.model)
        for flag, known in (("target", tuple(LOWERINGS)), ("ranges", METHODS)):
            value = getattr(self, flag)
            if value is not None and self.qat is not None:
                raise UserError(f"--{flag} is fixed by the training in --qat; omit it")
            if value is not None and value not in known:
                raise UserError(f"--{flag} must be one of {', '.join(known)}; received {value!r}")
        for flag, least in (("images", 1), ("calibration_images", MIN_CALIBRATION_IMAGES)):
            check_bounds(flag, getattr(self, flag), least, MAX_IMAGES)


def define(images: int, output: str) -> None:
    """Defines the flags; a command calls it when it is imported.

    Args:
      images: default number of evaluation images.
      output: help text of --output.
    """
    flags.DEFINE_string(
        "model",
        None,
        "Workdir of a float training (shufflenet train), or a classifier's .keras file.",
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "Where the data is, if it has moved since the training; for a .keras file: a folder of "
        "photographs, as for shufflenet convert.",
    )
    source_flags.define(_OF_FILE)
    flags.DEFINE_string(
        "qat", None, "Folder of its quantization-aware training; default: calibrated ranges."
    )
    flags.DEFINE_string(
        "target", None, f"Target of the deployment graph: {', '.join(LOWERINGS)} (default cpu)."
    )
    flags.DEFINE_string(
        "ranges",
        None,
        f"How calibration chooses ranges: {', '.join(METHODS)} (default {DEFAULT_METHOD}).",
    )
    flags.DEFINE_integer("images", images, "Number of evaluation images; all if there are fewer.")
    flags.DEFINE_integer("calibration_images", 256, "Number of training images for the ranges.")
    flags.DEFINE_string("output", None, output)


def read() -> ReportConfig:
    """Returns the checked flags and makes the output folder, before minutes of work.

    Raises:
      UserError: a flag is missing or cannot be used; the message names it.
    """
    if not FLAGS.model:
        raise UserError("--model is missing; name the workdir of a training, or a .keras file")
    config = ReportConfig(
        model=Path(FLAGS.model),
        data_dir=FLAGS.data_dir,
        qat=Path(FLAGS.qat) if FLAGS.qat else None,
        target=FLAGS.target,
        ranges=FLAGS.ranges,
        images=FLAGS.images,
        calibration_images=FLAGS.calibration_images,
        output=Path(FLAGS.output) if FLAGS.output else None,
        given=source_flags.read(_OF_FILE),
    )
    if config.output is not None:
        config.output.mkdir(parents=True, exist_ok=True)
    return config
