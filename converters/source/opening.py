"""What `--model` names, a workdir or a `.keras` file, as the source of a conversion."""

from collections.abc import Sequence
from pathlib import Path

from common.cli import UserError
from common.storage.readers import read_lines
from converters.source.arrays import read_npz
from converters.source.checks import check_model, plain
from converters.source.classes import classes_of
from converters.source.flags import ModelFlags, is_detector_file
from converters.source.from_detector import network_of_detector
from converters.source.from_model import network_of_model
from converters.source.from_workdir import network_of_workdir
from converters.source.network import Input, Network
from converters.source.photos import PhotoFolder, read_photos
from converters.workdir import read_settings
from trainers.config import CONFIG_FILE, TrainConfig
from trainers.data.class_names import LABELS_FILE
from trainers.networks.models import load_model
from trainers.settings import MODEL_SUFFIX


def open_network(path: Path, data_dir: str | None, given: ModelFlags, limit: int = 1024) -> Network:
    """Returns the network that a command's `--model` names.

    Args:
      path: a workdir, or a `.keras` file; one in the workdir of a detector is that detector.
      data_dir: where the data of a workdir is, if it has moved; a folder of photographs for another
        `.keras` file.
      given: what else the command is told of a `.keras` file.
      limit: the number of examples that are read at most.

    Raises:
      UserError: the model or its data cannot be used, or a flag is missing or not for it.

    Examples:
      >>> open_network(Path("net.keras"), "photos", ModelFlags()).inputs[0].shape
      (224, 224, 3)
    """
    given.check_for(path)
    if path.suffix != MODEL_SUFFIX:
        return network_of_training(path, data_dir)
    if given == ModelFlags() and is_detector_file(path):
        return network_of_detector(path, data_dir)
    if (data_dir is None) == (given.inputs is None):
        raise UserError(
            f"{path} needs examples that calibrate and check its files: --data_dir=FOLDER of "
            "photographs, or --inputs=FILE.npz of arrays (one of the two)"
        )
    model = load_model(path)
    check_model(model)
    choice = {"outputs": given.outputs or None, "size": given.input_size}
    ready, _ = plain(model, **choice)
    inputs = [Input(tensor.name, tuple(tensor.shape[1:])) for tensor in ready.inputs]
    # Classes say nothing to a network of another kind, such as a detector.
    classifies = classes_of(ready) > 0
    beside = file_beside(path, LABELS_FILE) if classifies and given.labels is None else None
    names_file = given.labels or beside
    names = None if names_file is None else read_lines(names_file, "name another file")
    if given.inputs is not None:
        images, labels = read_npz(given.inputs, inputs)
        found = {"images": images, "labels": labels, "class_names": names}
    elif len(inputs) == 1:
        photos = read_photos(
            Path(data_dir), inputs[0], limit, names, crop_share_of(path, given), names_file
        )
        found = _of_photos(photos, classifies, names)
    else:
        raise UserError(
            f"{path} takes {', '.join(each.name for each in inputs)}, not photographs alone; give "
            "its examples with --inputs=FILE.npz"
        )
    return network_of_model(
        model,
        **found,
        **choice,
        preprocessing=given.preprocessing,
        name=path.stem,
        limit=limit,
    )


def file_beside(path: Path, name: str) -> Path | None:
    """Returns a file of the training whose workdir a model's file is in; None: it is in none."""
    found = path.with_name(name)
    return found if path.with_name(CONFIG_FILE).is_file() and found.is_file() else None


def crop_share_of(path: Path, given: ModelFlags) -> float:
    """Returns the share of a photograph's shorter side that the central square has."""
    if given.crop_share is not None:
        return given.crop_share
    config = file_beside(path, CONFIG_FILE)
    return 1.0 if config is None else TrainConfig.load(config.parent).images.crop_share


def network_of_training(workdir: Path, data_dir: str | None = None) -> Network:
    """Returns the classifier or the detector of a workdir, with its data.

    Raises:
      UserError: the workdir cannot be used.
    """
    config, _ = read_settings(workdir)
    if config.detection.is_detection:
        return network_of_detector(workdir, data_dir)
    return network_of_workdir(workdir, data_dir)


def _of_photos(photos: PhotoFolder, classifies: bool, names: Sequence[str] | None) -> dict:
    """Returns the arguments of `network_of_model` that are of photographs."""
    given, check = photos.calibration, photos.check
    return {
        "images": given.images,
        "labels": given.labels if classifies else None,
        "check": None if check is None else (check.images, check.labels if classifies else None),
        "class_names": photos.class_names if classifies else names,
        "photograph": photos.photograph,
    }
