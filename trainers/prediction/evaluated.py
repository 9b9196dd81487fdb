"""What `evaluate` evaluates: a training's model or an artifact's, and the images it is tried on."""

import dataclasses
from pathlib import Path

from common.cli import UserError
from common.manifest import DETECTION, LABELS, MANIFEST, read_manifest
from trainers.config import CONFIG_FILE, TrainConfig
from trainers.settings import FOLDER, DataConfig

# Of an artifact that comes without its training.
_BATCH = 32
# What an artifact says of the data that it was trained on.
_RECORDED = ("dataset", "data_dir", "train_split", "eval_split")


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A model with its data.

    Attributes:
      model: a workdir, a `.keras` or `.tflite` file, or an artifact.
      is_artifact: its manifest says how images become its input, and its classes.
      is_detector: it finds boxes.
      training: the settings of its training; None: only the artifact is there.
      data: where the images are.
      labels: the file with the model's class names.
      batch_size: images that are read at once.
    """

    model: Path
    is_artifact: bool
    is_detector: bool
    training: TrainConfig | None
    data: DataConfig
    labels: Path
    batch_size: int

    @property
    def workdir(self) -> Path | None:
        """The training's folder; None: only the artifact is there."""
        return None if self.training is None else Path(self.training.workdir)


def find_evaluated(model: Path, workdir: Path | None, data_dir: str | None) -> Evaluated:
    """Finds the training or the manifest of a model, and the data.

    Args:
      model: a workdir, a `.keras` or `.tflite` file, or an artifact.
      workdir: of the training, for its data; None: the folder of the model, or what the artifact
        says of its data.
      data_dir: where the data is now; None: where it was in the training.

    Raises:
      UserError: there is no model, training or data; the message names it.

    Examples:
      >>> find_evaluated(Path("artifact"), None, "photos").data.data_dir
      'photos'
    """
    manifest = _manifest_of(model)
    training = None
    if workdir is not None or manifest is None:
        training = TrainConfig.load(workdir or _workdir_of(model))
        if data_dir:
            training = training.replace(data_dir=data_dir)
    if manifest is None:
        return Evaluated(
            model=model,
            is_artifact=False,
            is_detector=training.detection.is_detection,
            training=training,
            data=training.data,
            labels=Path(training.workdir) / LABELS,
            batch_size=training.optimization.batch_size,
        )
    folder = _folder(model)
    return Evaluated(
        model=model,
        is_artifact=True,
        is_detector=manifest["task"] == DETECTION,
        training=training,
        data=_data_of(manifest, folder, data_dir) if training is None else training.data,
        labels=folder / LABELS,
        batch_size=_BATCH if training is None else training.optimization.batch_size,
    )


def _folder(model: Path) -> Path:
    return model if model.is_dir() else model.parent


def _manifest_of(model: Path) -> dict | None:
    """Returns the manifest of an artifact, or of one of its files; None for other models."""
    folder = _folder(model)
    if not (folder / MANIFEST).is_file() or not model.exists():
        return None
    manifest = read_manifest(folder)
    return manifest if model == folder or model.name in manifest["files"] else None


def _workdir_of(model: Path) -> Path:
    if model.is_dir():
        return model
    if (model.parent / CONFIG_FILE).exists():
        return model.parent
    if not model.exists():
        raise UserError(
            f"{model} does not exist; name a workdir, a .keras or a .tflite file, or an artifact"
        )
    raise UserError(f"--workdir is missing; name the training that {model} comes from")


def _data_of(manifest: dict, folder: Path, data_dir: str | None) -> DataConfig:
    """Returns the data that a manifest says it was trained on, or that is in a folder of images."""
    found = {name: manifest["training"].get(name) for name in _RECORDED}
    values = {name: value for name, value in found.items() if isinstance(value, str)}
    if data_dir:
        values["data_dir"] = data_dir
        # Where a data set of TensorFlow's catalogue is, it has a folder of its name.
        if not (Path(data_dir) / values.get("dataset", FOLDER).partition(":")[0]).is_dir():
            values["dataset"] = FOLDER
    if "dataset" not in values:
        raise UserError(
            f"{folder / MANIFEST} does not say on which images it was trained; name them with "
            "--data_dir"
        )
    _, *_, channels = manifest["inputs"][0]["shape"]
    channels = channels if channels in (1, 3) else None
    try:
        return DataConfig(**values, channels=channels)
    except ValueError as error:
        raise UserError(
            f"{folder / MANIFEST} names data that cannot be used ({error}); name the images with "
            "--data_dir"
        ) from None
