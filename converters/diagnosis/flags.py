"""The flags that `converters.agreement` and `converters.layer_error` share.

They are defined by a call and not by the import: a module with flags is a command.
"""

from pathlib import Path

from absl import flags

from common.cli import UserError
from converters.diagnosis.config import ReportConfig
from converters.graph.targets import LOWERINGS
from converters.options import DEFAULT_METHOD, METHODS

FLAGS = flags.FLAGS


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
