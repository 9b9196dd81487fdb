"""Reads what conversion needs from a workdir, the folder of a training."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from common.cli import UserError
from converters.options import MIN_CALIBRATION_IMAGES
from keras_shufflenet.preprocessing import preprocess_input
from trainers.config import TrainConfig
from trainers.data.class_names import LABELS_FILE, describe, read_labels
from trainers.data.pipeline import uint8_images
from trainers.networks.classifiers import (
    check_channels,
    check_classifier,
    check_precision,
    without_softmax,
)
from trainers.networks.models import check_preprocessing, load_model
from trainers.settings import NetworkConfig

MODEL = "model.keras"


@dataclass(frozen=True)
class TrainedModel:
    """A trained classifier or detector with its training's settings.

    Attributes:
      model: the Keras model, which returns logits; a detector's returns its raw output.
      config: the training's settings; data_dir is where its data is now.
      labels: class names, in the order of the logits; None: those of the data.
    """

    model: keras.Model
    config: TrainConfig
    labels: list[str] | None


def load_trained(workdir: Path, data_dir: str | None = None) -> TrainedModel:
    """Loads `model.keras`, `config.json` and `labels.txt` of a workdir.

    Args:
      workdir: a training's, or one made by hand.
      data_dir: where the data is, if it has moved since the training.

    Raises:
      UserError: one of them is missing or damaged, they do not match, or they are a detector's; the
        message names it.
    """
    config, labels = read_settings(workdir, data_dir)
    if config.detection.is_detection:
        raise UserError(
            f"{workdir} is a detector's training, which shufflenet convert takes, but not this "
            "command; name a classifier's"
        )
    return TrainedModel(_logits_model(workdir / MODEL, config, labels), config, labels)


def read_settings(
    workdir: Path, data_dir: str | None = None, model: str = MODEL
) -> tuple[TrainConfig, list[str]]:
    """Returns the settings and the class names of a workdir that is complete.

    Args:
      workdir, data_dir: as for `load_trained`.
      model: the file of the network that is wanted.

    Raises:
      UserError: a file is missing or damaged; the message names it.
    """
    if not workdir.is_dir():
        raise UserError(f"workdir {workdir} is not a folder; name one that shufflenet train wrote")
    for name in ("config.json", LABELS_FILE, model):
        if not (workdir / name).is_file():
            raise UserError(
                f"{workdir / name} is missing; finish the training first (shufflenet train)"
            )
    config = TrainConfig.load(workdir)
    if data_dir is not None:
        config = config.replace(data_dir=data_dir)
    return config, list(read_labels(workdir))


def network_name(config: NetworkConfig) -> str:
    """Returns a network's name, such as "shufflenet_v2_0.5x"."""
    if config.is_file:
        return Path(config.model).stem
    groups = "" if config.groups is None else f"_g{config.groups}"
    # Such as shufflenet_v2_stem8_stage16-32-64_head128.
    widths = "".join(
        f"_{name.removesuffix('_channels')}{str(width).replace(',', '-')}"
        for name, width in config.widths.items()
    )
    scale = "" if config.stage_channels else f"_{config.scale}x"
    if config.model == "shufflenet_v2_plus":
        scale = f"_{config.size or 'small'}"
    return f"{config.model}{scale}{groups}{widths}"


def _logits_model(path: Path, config: TrainConfig, labels: list[str]) -> keras.Model:
    """Loads the model, checks that it fits its training, and removes a softmax at its end."""
    model = load_model(path)
    check_classifier(model, config.images, len(labels), path)
    if None in model.input_shape[1:]:
        raise UserError(
            f"{path} has input {model.input_shape}: devices need a fixed height and width; train "
            "with --input_size"
        )
    check_preprocessing(model, config.images.preprocessing, path)
    check_precision(model, path)
    logits = without_softmax(model)
    if logits is not model:
        print(f"{path} ends with a softmax: what is converted are the logits before it")
    return logits


def split_images(trained: TrainedModel, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a random sample of a split, at most `count` images, as the evaluation sees them.

    Returns:
      uint8 [n, height, width, channels], before normalization, and the classes, int32 [n].

    Raises:
      UserError: the data cannot be read, or has other classes or channels than the model.
    """
    config = trained.config
    images, classes = uint8_images(
        config, split, limit=count, seed=config.optimization.seed, labels=trained.labels
    )
    path = Path(config.workdir) / MODEL
    check_channels(trained.model.input_shape, images.shape[-1], path, describe(config.data))
    return images, classes


def calibration_inputs(trained: TrainedModel, count: int) -> np.ndarray:
    """Returns preprocessed float32 training images [n, height, width, channels], at most `count`.

    Raises:
      UserError: there are too few for calibration.
    """
    config = trained.config
    images, _ = split_images(trained, config.data.train_split, count)
    if len(images) < MIN_CALIBRATION_IMAGES:
        raise UserError(
            f"split {config.data.train_split!r} of {config.data.dataset} gives {len(images)} "
            f"usable calibration images, but int8 needs {MIN_CALIBRATION_IMAGES}; add images"
        )
    return preprocess_input(images, mode=config.images.preprocessing)
