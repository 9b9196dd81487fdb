"""What `converters.agreement` and `converters.layer_error` are asked to do."""

from dataclasses import dataclass
from pathlib import Path

from common.cli import UserError
from converters.graph.targets import LOWERINGS
from converters.options import METHODS, MIN_CALIBRATION_IMAGES


@dataclass(frozen=True)
class ReportConfig:
    """Which quantized network to look at, and on how many images: the flags of both reports.

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
        if self.images < 1:
            raise UserError(f"--images must be at least 1; received {self.images}")
        if self.calibration_images < MIN_CALIBRATION_IMAGES:
            raise UserError(
                f"--calibration_images must be at least {MIN_CALIBRATION_IMAGES}; "
                f"received {self.calibration_images}"
            )
