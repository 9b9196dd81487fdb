"""Weights that a training starts from, instead of random ones."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

import keras

from common.cli import UserError
from keras_shufflenet import features, preprocessing_of
from keras_shufflenet.checkpoints.weights_argument import (
    IMAGENET,
    keras_settings,
    open_keras_file,
)
from trainers.data import wordnet
from trainers.data.class_names import LABELS_FILE, difference, known_labels
from trainers.networks.models import build_model, load_model
from trainers.settings import ImageConfig, NetworkConfig


def load_starting_weights(
    model: keras.Model,
    config: NetworkConfig,
    images: ImageConfig,
    class_names: Sequence[str],
    only_features: bool = False,
) -> None:
    """Sets the weights of `model` to those that `config.weights` names.

    These are a workdir (its `model.keras`), a `.keras` or a `.weights.h5` file of the same network,
    or any other value of the network's own argument `weights`. The classifier keeps its random
    weights, and the screen says so, unless the weights are known to be for the same classes.

    Args:
      model: the network of `config` and `images`.
      class_names: of the data.
      only_features: set the weights of the stem and the stages alone, whatever the classes are.

    Raises:
      UserError: the weights cannot be loaded, or are from another network; the message names the
        first weight that does not fit.
    """
    source = _source(model, config, images)
    check_settings(source, model, config, images)
    _check_stem(source, config)
    if only_features:
        assign_weights(features(model), source, config.weights)
        return
    fresh = _fresh_weights(model, source, config.weights, class_names)
    assign_weights(model, source, config.weights, except_for=fresh)


def assign_weights(
    model: keras.Model, source: keras.Model, name: str, except_for: Collection[str] = ()
) -> None:
    """Sets the weights of `model` to those of the same paths in `source`.

    Args:
      name: the value of --weights, for the message.
      except_for: paths of weights that stay.

    Raises:
      UserError: a weight is missing or has another shape.
    """
    weights = {weight.path: weight for weight in source.weights}
    for weight in model.weights:
        if weight.path in except_for:
            continue
        found = weights.get(weight.path)
        if found is None or found.shape != weight.shape:
            shape = "is missing" if found is None else f"has shape {tuple(found.shape)}"
            raise UserError(
                f"--weights {name} is from another network: {weight.path} {shape} there, "
                f"but {tuple(weight.shape)} here; use the --model, --scale, --groups, --neck and "
                "--small_images that it was trained with"
            )
        weight.assign(found.value)


def check_settings(
    source: keras.Model, model: keras.Model, config: NetworkConfig, images: ImageConfig
) -> None:
    """Raises UserError if the weights were trained with other settings, which no shape shows."""
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
    if _setting(source, "use_shuffle") is False:
        raise UserError(
            f"--weights {config.weights} was trained without channel shuffles, but {config.model} "
            "has them; name other weights"
        )


def _check_stem(source: keras.Model, config: NetworkConfig) -> None:
    """Raises UserError if the first convolution has another stride."""
    stem = next((layer for layer in source.layers if layer.name == "stem_conv"), None)
    if not config.is_shufflenet or stem is None:
        return
    theirs = tuple(stem.strides) == (1, 1)
    if theirs != config.small_images:
        flags = {True: "--small_images", False: "--nosmall_images"}
        raise UserError(
            f"--weights {config.weights} was trained with {flags[theirs]} (a stem of stride "
            f"{stem.strides[0]}), not with {flags[config.small_images]}; use {flags[theirs]}"
        )


def _fresh_weights(
    model: keras.Model, source: keras.Model, name: str, class_names: Sequence[str]
) -> set[str]:
    """Returns the paths of the classifier's weights if it has to be learnt anew, and says why."""
    known = wordnet.words() if name == IMAGENET else known_labels(name)
    if source.output_shape[-1] != len(class_names):
        reason = f"it has {source.output_shape[-1]} classes, the data {len(class_names)}"
    elif known is None:
        reason = f"no {LABELS_FILE} beside it says which classes it knows"
    elif tuple(known) != tuple(class_names):
        reason = f"the data has other classes: {difference(class_names, known)}"
    else:
        return set()
    print(f"--weights {name}: the classifier starts from random weights, because {reason}")
    classifier = next(layer for layer in reversed(model.layers) if layer.weights)
    return {weight.path for weight in classifier.weights}


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
        if config.is_shufflenet:
            # `_check_stem` compares; the other settings are not in the file.
            config = dataclasses.replace(config, **keras_settings(str(path)))
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
    # With its limits: a small file must not fill the memory.
    with open_keras_file(str(path)) as file:
        # Keras names a layer after its class; the network has one Dense, with kernel and bias.
        return file["layers/dense/vars/1"].shape[0]
