"""What `converters.convert` is asked to do; checked before TensorFlow is imported."""

from dataclasses import dataclass
from pathlib import Path

from trainers.cli import UserError

QUANTIZATIONS = ("none", "float16", "dynamic", "int8")
# Ranges from fewer images than this are accidents of those images.
MIN_CALIBRATION_IMAGES = 32


@dataclass(frozen=True)
class ConversionConfig:
    """What to convert, how, and to where: the flags of `converters.convert`."""

    model: Path
    output: Path
    quantizations: tuple[str, ...]
    samples: int
    calibration_images: int
    overwrite: bool

    def __post_init__(self):
        unknown = [name for name in self.quantizations if name not in QUANTIZATIONS]
        if unknown or not self.quantizations:
            raise UserError(
                f"--quantization must be some of {', '.join(QUANTIZATIONS)}; "
                f"received {','.join(self.quantizations)!r}"
            )
        if len(set(self.quantizations)) < len(self.quantizations):
            raise UserError(f"--quantization repeats one: {','.join(self.quantizations)}")
        if self.samples < 0:
            raise UserError(f"--samples must be at least 0; received {self.samples}")
        if self.calibration_images < MIN_CALIBRATION_IMAGES:
            raise UserError(
                f"--calibration_images must be at least {MIN_CALIBRATION_IMAGES}; "
                f"received {self.calibration_images}"
            )
