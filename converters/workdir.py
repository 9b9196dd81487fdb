"""Reads what conversion needs from a workdir, the folder of a training."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from common.cli import UserError
from common.storage.readers import read_lines
from converters.options import MIN_CALIBRATION_IMAGES
from keras_shufflenet.preprocessing import preprocess_input
from trainers.config import TrainConfig
from trainers.data.pipeline import uint8_images
from trainers.networks.models import check_preprocessing, load_model


@dataclass(frozen=True)
class TrainedModel:
    """A trained classifier with its training's settings.

    Attributes:
      model: the Keras model, which returns logits.
      config: the training's settings.
      labels: class names, in the order of the logits.
    """

    model: keras.Model
    config: TrainConfig
    labels: list[str]


def load_trained(workdir: Path) -> TrainedModel:
    """Loads `model.keras`, `config.json` and `labels.txt` of a workdir.

    Raises:
      UserError: one of them is missing or damaged, or they do not match; the message names it.
    """
    if not workdir.is_dir():
        raise UserError(f"workdir {workdir} is not a folder; name one that shufflenet train wrote")
    for name in ("config.json", "labels.txt", "model.keras"):
        if not (workdir / name).is_file():
            raise UserError(
                f"{workdir / name} is missing; finish the training first (shufflenet train)"
            )
    config = TrainConfig.load(workdir)
    labels = read_lines(workdir / "labels.txt", "restore it, or train again")
    model = load_model(workdir / "model.keras")
    _check_model(model, labels, workdir)
    check_preprocessing(model, config.images.preprocessing, workdir / "model.keras")
    return TrainedModel(model, config, labels)


def calibration_inputs(trained: TrainedModel, count: int) -> np.ndarray:
    """Returns preprocessed float32 training images [n, height, width, channels], at most `count`.

    Raises:
      UserError: there are too few for calibration.
    """
    config = trained.config
    images, _ = uint8_images(
        config, config.data.train_split, limit=count, seed=config.optimization.seed
    )
    if len(images) < MIN_CALIBRATION_IMAGES:
        raise UserError(
            f"split {config.data.train_split!r} of {config.data.dataset} gives {len(images)} "
            f"usable calibration images, but int8 needs {MIN_CALIBRATION_IMAGES}; add images"
        )
    return preprocess_input(images, mode=config.images.preprocessing)


def _check_model(model: keras.Model, labels: list[str], workdir: Path) -> None:
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.input_shape) != 4:
        raise UserError(f"{workdir / 'model.keras'} is not an image classifier; train one")
    if None in model.input_shape[1:]:
        raise UserError(
            f"{workdir / 'model.keras'} has input {model.input_shape}: "
            "devices need a fixed height and width; train with --input_size"
        )
    classes = model.output_shape[-1]
    if classes != len(labels):
        raise UserError(
            f"{workdir / 'model.keras'} has {classes} classes, but {workdir / 'labels.txt'} has "
            f"{len(labels)} labels; they are not from the same training"
        )
