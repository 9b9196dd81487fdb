"""The network of a training, and the files that networks are saved in."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import keras

import keras_shufflenet
from common import files
from common.cli import UserError
from common.manifest import MANIFEST
from keras_shufflenet.checkpoints.weights_argument import open_keras_file
from keras_shufflenet.keras_internals import flat_layers
from trainers.distribution.strategy import synchronize_batch_norms
from trainers.networks.classifiers import check_names, check_precision, without_softmax
from trainers.networks.mobilenet import mobilenet_v2
from trainers.settings import ImageConfig, NetworkConfig

_DEFAULT_GROUPS = 3
_DEFAULT_SIZE = "small"
# Keras's words for a layer, a loss or a function that it does not have.
_OWN_CODE = re.compile(r"Could not locate (class|function) '([^']+)'")


def build_model(
    config: NetworkConfig,
    images: ImageConfig,
    channels: int,
    classes: int,
    precision: str = "float32",
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """Returns the config's network; its output is logits.

    Args:
      config: which network.
      images: input_size and preprocessing matter.
      channels: of the images.
      classes: number of classes.
      precision: of the layers' arithmetic.
      weights: a ShuffleNet's argument `weights`; None: random.

    Raises:
      UserError: a scale or number of groups that the papers do not have, weights that cannot be
        used, or a `.keras` file whose network is not for these images.
    """
    shape = (images.input_size, images.input_size, channels)
    if weights is not None and not config.is_shufflenet:
        raise UserError(
            f"--weights {weights} is for ShuffleNets; name a workdir or a .keras or "
            ".weights.h5 file"
        )
    if config.is_file:
        return architecture(config.model, (None, *shape), (None, classes))
    try:
        with _precision(precision):
            if config.model == "mobilenet_v2":
                return mobilenet_v2(config.scale, shape, classes, config.small_images)
            return _build_shufflenet(config, images.preprocessing, shape, classes, weights)
    # Weights may need a package that is not installed, or a network connection.
    except (ValueError, ImportError, FileNotFoundError, ConnectionError) as error:
        raise UserError(f"{config.model} cannot be built: {error}") from None


def _build_shufflenet(
    config: NetworkConfig,
    preprocessing: str,
    shape: tuple[int, int, int],
    classes: int,
    weights: str | os.PathLike | None,
) -> keras.Model:
    arguments = {
        "input_shape": shape,
        "classes": classes,
        "classifier_activation": None,
        "padding": config.padding,
        "preprocessing": preprocessing,
        "small_images": config.small_images,
        "weights": weights,
    }
    if config.model == "shufflenet_v2_plus":
        # A checkpoint has no state of random numbers, and without it no training resumes exactly.
        return keras_shufflenet.ShuffleNetV2Plus(
            config.size or _DEFAULT_SIZE, dropout_rate=0, **arguments
        )
    arguments |= {"scale": config.scale, "convention": config.convention}
    if config.model == "shufflenet_v1":
        groups = _DEFAULT_GROUPS if config.groups is None else config.groups
        return keras_shufflenet.ShuffleNetV1(groups=groups, **arguments)
    widths = {**config.widths, "first_depthwise": config.first_depthwise}
    if config.stage_channels is not None:
        widths["stage_channels"] = tuple(map(int, config.stage_channels.split(",")))
    return keras_shufflenet.ShuffleNetV2(**arguments, **widths)


def architecture(path: str, inputs: tuple, outputs: tuple) -> keras.Model:
    """Returns the network of a `.keras` file with new random weights.

    Args:
      path: the file.
      inputs, outputs: the shapes that it must have, with the batch.

    Raises:
      UserError: it cannot be loaded, has other shapes, ends with a softmax, or computes in another
        type than float32.
    """
    model = load_model(path)
    # Not the saved weights, because a run's initial weights depend on its seed.
    model = keras.models.clone_model(model)
    if (model.input_shape, model.output_shape) != (inputs, outputs):
        raise UserError(
            f"{path} maps {model.input_shape} to {model.output_shape}, but these images "
            f"need {inputs} to {outputs}; build it for these, or name another --input_size"
        )
    check_names(model, path)
    check_precision(model, path)
    if without_softmax(model) is not model:
        raise UserError(f"{path} ends with a softmax; build it without, so that it returns logits")
    return model


def full_precision(
    model: keras.Model, config: NetworkConfig, images: ImageConfig, precision: str
) -> keras.Model:
    """Returns the same network with the same weights, with all arithmetic in float32.

    Weights are float32 in mixed precision too; later conversions do not need the rest.

    Args:
      model: from `build_model` with the other arguments.
    """
    if precision == "float32":
        return model
    twin = build_model(config, images, model.input_shape[-1], model.output_shape[-1])
    twin.set_weights(model.get_weights())
    return twin


def check_preprocessing(model: keras.Model, preprocessing: str, path: str | Path) -> None:
    """Raises UserError if the model from `path` needs another preprocessing than its training."""
    mode = keras_shufflenet.preprocessing_of(model)
    if mode not in (None, preprocessing):
        raise UserError(
            f"{path} is for pixels of preprocessing {mode!r}, but the training's config.json says "
            f"{preprocessing!r}; they do not come from the same training"
        )


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    # Otherwise the caller's policy stays.
    if name != "float32":
        keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def save_model(model: keras.Model, path: str | Path) -> None:
    """Writes a `.keras` file, whole or not at all, with batch norms set for one device."""
    synchronized = any(getattr(layer, "synchronized", False) for layer in flat_layers(model))
    synchronize_batch_norms(model, False)
    try:
        with files.atomic_write(path) as temporary:
            model.save(temporary)
    finally:
        synchronize_batch_norms(model, synchronized)


def _why_missing(path: Path) -> str:
    """Returns what to do about a `.keras` file that does not exist."""
    workdir = path.parent
    if path.is_dir():
        return f"{path} is a folder; name a .keras file, as model.save(...) writes it"
    if (workdir / MANIFEST).is_file():
        return f"{workdir} is an artifact, not a workdir; name the training that it comes from"
    if not (workdir / "checkpoints").is_dir():
        return f"model {path} does not exist; check the path"
    best = workdir / "best.keras"
    other = f", or name {best}" if best.is_file() else ""
    return (
        f"the training in {workdir} is not finished; continue it with shufflenet train "
        f"--workdir={workdir} --resume{other}"
    )


def load_model(path: str | Path) -> keras.Model:
    """Loads a `.keras` file.

    Raises:
      UserError: no such file, or Keras cannot read it.
    """
    if not Path(path).is_file():
        raise UserError(_why_missing(Path(path)))
    try:
        open_keras_file(str(path)).close()  # A small file must not fill the memory.
        return keras.saving.load_model(path, compile=False)
    # Keras passes on the errors of zip, JSON and HDF5.
    except Exception as error:
        raise UserError(f"{path} {_why_unreadable(error)}") from error


def _why_unreadable(error: Exception) -> str:
    """Returns what Keras found in a `.keras` file, and what to do."""
    text = str(error).strip()
    if own := _OWN_CODE.search(text):
        return (
            f"needs the {own[1]} {own[2]!r} of your own code, which no command knows; load it in "
            "Python, where it is defined, and call converters.convert"
        )
    if "`Lambda` layer" in text:
        return (
            "has a Lambda layer, whose code is not loaded from files; build the model of layers of "
            "Keras or keras.ops"
        )
    reason = text.partition("\n")[0] or type(error).__name__
    return f"cannot be loaded as a Keras model ({reason}); restore it, or name another"
