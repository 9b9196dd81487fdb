"""What commands are told of a `.keras` file; checked before TensorFlow is imported."""

from dataclasses import dataclass
from pathlib import Path

from common.cli import UserError


@dataclass(frozen=True)
class ModelFlags:
    """What a command is told of a `.keras` file; a workdir says it itself.

    Attributes:
      inputs: an .npz file with examples, instead of photographs.
      labels: a file of class names, one a line, in the order of the output; None: labels.txt beside
        the file, if a training wrote it, or the folders of the photographs.
      preprocessing: how a pixel becomes the input; None: as the model says.
      outputs: names of the outputs to convert; empty: all.
      input_size: height and width in pixels, if the model does not fix them.
      crop_share: the share of a photograph's shorter side that the central square has; None: that
        of the training whose workdir the file is in, or 1.
    """

    inputs: Path | None = None
    labels: Path | None = None
    preprocessing: str | None = None
    outputs: tuple[str, ...] = ()
    input_size: int | None = None
    crop_share: float | None = None

    def __post_init__(self):
        if self.crop_share is not None and not 0 < self.crop_share <= 1:
            raise UserError(f"--crop_share must be in (0, 1]; received {self.crop_share}")
