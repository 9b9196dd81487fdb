"""What `converters.agreement` and `converters.layer_error` are asked to do, and their flags.

The flags are defined by a call and not by the import: a module with flags is a command.
"""

from dataclasses import dataclass
from pathlib import Path

from absl import flags

from common.cli import UserError
from converters.graph.targets import LOWERINGS
from converters.options import DEFAULT_METHOD, METHODS, MIN_CALIBRATION_IMAGES

FLAGS = flags.FLAGS


@dataclass(frozen=True)
class ReportConfig:
    """Which quantized network to look at, and on how many images.

    Attributes:
      model: workdir of the float training, whose evaluation images are used.
      qat: folder of a quantization-aware training, or None for calibrated ranges.
      target: whose lowering the deployment graph has; None is cpu, or what `qat` was trained with.
      ranges: how calibration chooses them; None is the default, or what `qat` was trained with.
      images: evaluation images, or all there are in a smaller split.
      calibration_images: training images that ranges are taken from.
      output: folder for the report's files, or None.

    Raises:
      UserError: a value that cannot be used; its flag is named.
    """

    model: Path
    qat: Path | None
    target: str | None
    ranges: str | None
    images: int
    calibration_images: int
    output: Path | None

    def __post_init__(self):
        for flag, known in (("target", tuple(LOWERINGS)), ("ranges", METHODS)):
            value = getattr(self, flag)
            if value is not None and self.qat is not None:
                raise UserError(f"--{flag} is fixed by the training in --qat; leave it out")
            if value is not None and value not in known:
                raise UserError(f"--{flag} must be one of {', '.join(known)}; received {value!r}")
        for flag, least in (("images", 1), ("calibration_images", MIN_CALIBRATION_IMAGES)):
            value = getattr(self, flag)
            if value < least:
                raise UserError(f"--{flag} must be at least {least}; received {value}")


def define(images: int, output: str) -> None:
    """Defines the flags; a command calls it at its top.

    Args:
      images: default number of evaluation images.
      output: help of --output.
    """
    flags.DEFINE_string("model", None, "Workdir of a float training (trainers.train).")
    flags.DEFINE_string(
        "qat", None, "Folder of its quantization-aware training; calibrated ranges without."
    )
    flags.DEFINE_string(
        "target", None, f"Lowering of the deployment graph: {', '.join(LOWERINGS)} (cpu)."
    )
    flags.DEFINE_string(
        "ranges", None, f"How calibration chooses ranges: {', '.join(METHODS)} ({DEFAULT_METHOD})."
    )
    flags.DEFINE_integer("images", images, "Evaluation images, or all there are.")
    flags.DEFINE_integer("calibration_images", 256, "Training images from which ranges are taken.")
    flags.DEFINE_string("output", None, output)


def read() -> ReportConfig:
    """Returns the flags, checked, and makes the output's folder: before minutes of work.

    Raises:
      UserError: a flag is missing or cannot be used; it is named.
    """
    if not FLAGS.model:
        raise UserError("--model is missing; name the workdir of a training")
    config = ReportConfig(
        model=Path(FLAGS.model),
        qat=Path(FLAGS.qat) if FLAGS.qat else None,
        target=FLAGS.target,
        ranges=FLAGS.ranges,
        images=FLAGS.images,
        calibration_images=FLAGS.calibration_images,
        output=Path(FLAGS.output) if FLAGS.output else None,
    )
    if config.output is not None:
        config.output.mkdir(parents=True, exist_ok=True)
    return config
