"""What commands are told of a `.keras` file; checked before TensorFlow is imported."""

from dataclasses import dataclass
from pathlib import Path

from common.cli import UserError


@dataclass(frozen=True)
class ModelFlags:
    """What a command is told of a `.keras` file; a workdir says it itself.

    Attributes:
      inputs: an .npz file with examples, instead of photographs.
      labels: a file of class names, one a line, in the order of the output.
      preprocessing: how a pixel becomes the input; None: as the model says.
      outputs: names of the outputs to convert; empty: all.
      input_size: height and width in pixels, if the model does not fix them.
      crop_share: the share of a photograph's shorter side that the central square has.
    """

    inputs: Path | None = None
    labels: Path | None = None
    preprocessing: str | None = None
    outputs: tuple[str, ...] = ()
    input_size: int | None = None
    crop_share: float = 1.0

    def __post_init__(self):
        if not 0 < self.crop_share <= 1:
            raise UserError(f"--crop_share must be in (0, 1]; received {self.crop_share}")
