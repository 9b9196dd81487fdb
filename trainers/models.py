"""The network of a training, and the files that networks are kept in."""

from pathlib import Path

import keras

import keras_shufflenet
from trainers import files
from trainers.cli import UserError
from trainers.config import TrainConfig
from trainers.strategy import synchronize_batch_norms

_DEFAULT_GROUPS = 3


def build_model(config: TrainConfig, channels: int, classes: int) -> keras.Model:
    """Returns the config's network with random weights; its output are logits.

    Args:
      config: model, scale, groups, padding, small_images and input_size matter.
      channels: of the input images.
      classes: number of classes.

    Raises:
      UserError: a scale or number of groups that the papers do not have.
    """
    arguments = {
        "scale": config.scale,
        "input_shape": (config.input_size, config.input_size, channels),
        "classes": classes,
        "classifier_activation": None,
        "padding": config.padding,
        "small_images": config.small_images,
    }
    try:
        if config.model == "shufflenet_v1":
            groups = _DEFAULT_GROUPS if config.groups is None else config.groups
            return keras_shufflenet.ShuffleNetV1(groups=groups, **arguments)
        return keras_shufflenet.ShuffleNetV2(**arguments)
    except ValueError as error:
        raise UserError(f"{config.model} cannot be built: {error}") from None


def save_model(model: keras.Model, path: str | Path) -> None:
    """Writes a `.keras` file, whole or not at all, with batch norms as one device has them."""
    synchronized = any(getattr(layer, "synchronized", False) for layer in model._flatten_layers())
    synchronize_batch_norms(model, False)
    try:
        with files.atomic_write(path) as temporary:
            model.save(temporary)
    finally:
        synchronize_batch_norms(model, synchronized)


def load_model(path: str | Path) -> keras.Model:
    """Loads a `.keras` file.

    Raises:
      UserError: no such file, or Keras cannot read it.
    """
    if not Path(path).is_file():
        raise UserError(f"model {path} does not exist; finish a training first, or check the path")
    try:
        return keras.saving.load_model(path, compile=False)
    # Keras passes on what zip, JSON and HDF5 raise.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} is no Keras model that can be loaded ({reason})") from error
