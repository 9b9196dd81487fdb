"""Weights that a training starts from, instead of random ones."""

from pathlib import Path

import h5py
import keras

from common.cli import UserError
from keras_shufflenet import preprocessing_of
from keras_shufflenet.checkpoints.weights_argument import open_keras_file
from trainers.networks.models import build_model, load_model
from trainers.settings import ImageConfig, NetworkConfig

_CLASSIFIER = "predictions/"


def load_starting_weights(model: keras.Model, config: NetworkConfig, images: ImageConfig) -> None:
    """Sets the weights of `model` to those that `config.weights` names.

    These are a workdir (its `model.keras`), a `.keras` or a `.weights.h5` file of the same network,
    or any other value of the network's own argument `weights`. If the number of classes differs,
    the classifier keeps its random weights.

    Args:
      model: the network of `config` and `images`.

    Raises:
      UserError: the weights cannot be loaded, or are from another network; the message names the
        first weight that does not fit.
    """
    source = _source(model, config, images)
    preprocessing = preprocessing_of(source)
    if preprocessing not in (None, images.preprocessing):
        raise UserError(
            f"--weights {config.weights} is for pixels of --preprocessing={preprocessing}, not "
            f"{images.preprocessing}; use --preprocessing={preprocessing}"
        )
    for name in ("padding", "convention"):
        theirs, ours = _setting(source, name), _setting(model, name)
        if theirs not in (None, ours):
            raise UserError(
                f"--weights {config.weights} was trained with --{name}={theirs}, not {ours}; "
                f"use --{name}={theirs}"
            )
    weights = {weight.path: weight for weight in source.weights}
    new_classes = source.output_shape[-1] != model.output_shape[-1]
    for weight in model.weights:
        if new_classes and weight.path.startswith(_CLASSIFIER):
            continue
        found = weights.get(weight.path)
        if found is None or found.shape != weight.shape:
            shape = "is missing" if found is None else f"has shape {tuple(found.shape)}"
            raise UserError(
                f"--weights {config.weights} is from another network: {weight.path} {shape} there, "
                f"but {tuple(weight.shape)} here; use the --model, --scale, --groups and "
                "--small_images that it was trained with"
            )
        weight.assign(found.value)


def _setting(model: keras.Model, name: str) -> str | None:
    """Returns a setting that all units of a network share, or None for another model."""
    return next(
        (getattr(layer, name, None) for layer in model.layers if "_unit" in layer.name), None
    )


def _source(model: keras.Model, config: NetworkConfig, images: ImageConfig) -> keras.Model:
    path = Path(config.weights)
    if path.is_dir() or path.suffix == ".keras":
        return load_model(path / "model.keras" if path.is_dir() else path)
    channels, classes = model.input_shape[-1], model.output_shape[-1]
    if not path.name.endswith(".weights.h5"):
        return build_model(config, images, channels, classes, weights=config.weights)
    try:
        open_keras_file(str(path)).close()  # A small file must not fill the memory.
        source = build_model(config, images, channels, _classes(path))
        source.load_weights(path)
        return source
    # Keras passes on the errors of HDF5 and of its own checks.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"--weights {path} cannot be loaded into {config.model} {config.scale:g}x ({reason})"
        ) from error


def _classes(path: Path) -> int:
    """Returns the number of classes of the network in a weights file."""
    with h5py.File(path) as file:
        # Keras names a layer after its class; the network has one Dense, with kernel and bias.
        return file["layers/dense/vars/1"].shape[0]
