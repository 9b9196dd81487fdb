"""What commands are told of a `.keras` file; checked before TensorFlow is imported.

`define` defines the flags, not the import of this module: a module with flags is a command.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from common.cli import UserError
from trainers.config import CONFIG_FILE, TrainConfig
from trainers.settings import MODEL_SUFFIX

FLAGS = flags.FLAGS
# In the folder of a model that TensorFlow has saved, without Keras's layers.
_SAVED_MODEL = "saved_model.pb"


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

    def check_for(self, path: Path) -> None:
        """Raises UserError if anything is said of a model that is no `.keras` file.

        So does a model that is neither such a file nor a workdir.
        """
        if path.suffix != MODEL_SUFFIX and (path.is_file() or (path / _SAVED_MODEL).is_file()):
            raise UserError(
                f"{path} is neither a workdir nor a {MODEL_SUFFIX} file; save the Keras model in "
                f'that format: model.save("{path.stem}{MODEL_SUFFIX}")'
            )
        default = ModelFlags()
        given = [name for name in vars(self) if getattr(self, name) != getattr(default, name)]
        if given and path.suffix != MODEL_SUFFIX:
            raise UserError(
                f"--{given[0]} is for a {MODEL_SUFFIX} file; the workdir {path} says it itself"
            )


def is_detector_file(path: Path) -> bool:
    """Returns whether a `.keras` file is in the workdir of a detector, as its `best.keras` is."""
    beside = path.with_name(CONFIG_FILE)
    return beside.is_file() and TrainConfig.load(beside.parent).detection.is_detection


_HELP = {
    "inputs": "For a .keras file whose input is no photograph: an .npz file with an array of "
    "examples for each input, by its name, and perhaps their classes as `labels`.",
    "labels": "For a .keras file of a classifier: a file of its class names, one a line, in the "
    "order of its output; default: the folders of --data_dir, sorted.",
    "preprocessing": "For a .keras file that does not say how pixels (0 to 255) become its input: "
    "tf (-1 to 1), torch (ImageNet's mean and deviation), raw (0 to 255).",
    "outputs": "For a .keras file: names of the outputs to convert; default: all.",
    "input_size": "For a .keras file that does not fix it: height and width of its input.",
    "crop_share": "For a .keras file: the share of a photograph's shorter side that its central "
    "square has (default: that of the training whose workdir the file is in, else 1).",
}
_PATHS = ("inputs", "labels")
_DEFINE = {"outputs": flags.DEFINE_list, "input_size": flags.DEFINE_integer}
_DEFINE |= {"crop_share": flags.DEFINE_float}
ALL = tuple(_HELP)


def define(names: Collection[str] = ALL) -> None:
    """Defines the flags of these fields of `ModelFlags`; a command calls it when it is imported."""
    for name in names:
        default = [] if name == "outputs" else None
        _DEFINE.get(name, flags.DEFINE_string)(name, default, _HELP[name])


def read(names: Collection[str] = ALL) -> ModelFlags:
    """Returns the checked flags.

    Raises:
      UserError: a flag cannot be used; the message names it.
    """
    found = {name: FLAGS[name].value for name in names}
    found |= {name: Path(found[name]) for name in _PATHS if found.get(name) is not None}
    if "outputs" in found:
        found["outputs"] = tuple(found["outputs"])
    return ModelFlags(**found)
