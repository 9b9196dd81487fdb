"""The networks' argument `weights`: a file, or the name of weights to download."""

import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras

from keras_shufflenet.checkpoints import pretrained
from keras_shufflenet.checkpoints import weights as checkpoint_weights
from keras_shufflenet.checkpoints.files import CHECKPOINT_SUFFIXES, EMA, read_tensors
from keras_shufflenet.checkpoints.limits import DAMAGED, check_archive, check_arrays
from keras_shufflenet.checkpoints.names import recognize, settings_of
from keras_shufflenet.layers import CONVENTIONS, PADDINGS, check_choice
from keras_shufflenet.preprocessing import PREPROCESSING

KERAS_SUFFIXES = (".weights.h5", ".keras")
IMAGENET = "imagenet"
# What all checkpoints of PyTorch's networks have in common.
_PYTORCHS = {"small_images": False, "shuffle": True}
# Keras's name of the units of ShuffleNetV2+, whose stem has no max-pool.
_WITHOUT_POOL = "shuffle_unit_v2_plus"
_REMEDY = "build the network with the arguments that it was saved with"
# In Keras's message about a weight that does not fit.
_SHAPES = re.compile(
    r"variable\.shape=(\(.*?\)), Received: value\.shape=(\(.*?\))\..*?<Variable path=([^,>]+)", re.S
)

# Arguments of the networks that weights depend on, and their values if neither the user nor the
# weights give them.
_DEFAULTS = {"padding": "same", "convention": "paper", "preprocessing": None}
_CHOICES = {
    "padding": PADDINGS,
    "convention": CONVENTIONS,
    "preprocessing": tuple(PREPROCESSING),
}


class Network(NamedTuple):
    """What weights depend on, by the network's name.

    Attributes:
      title: its name in messages.
      classifier_arrays: number of the arrays that a network without a classifier does not have.
    """

    title: str
    classifier_arrays: int = 2


NETWORKS = {
    "shufflenet_v1": Network("ShuffleNetV1"),
    "shufflenet_v2": Network("ShuffleNetV2"),
    "shufflenet_v2_plus": Network("ShuffleNetV2+", classifier_arrays=8),
    "shufflenet_v2_large": Network("ShuffleNetV2.Large"),
    "shufflenet_v2_exlarge": Network("ShuffleNetV2.ExLarge"),
}


class Settings(NamedTuple):
    """Arguments of a network that its weights depend on, though no shape shows it."""

    padding: str
    convention: str
    preprocessing: str | None


class Weights(NamedTuple):
    """Weights that were found.

    Attributes:
      argument: what the user wrote.
      settings: the known arguments of the network in which they were trained, by name.
      load: called with a network and whether it has a classifier; loads the weights into it.
    """

    argument: Any
    settings: Mapping[str, Any]
    load: Callable[[keras.Model, bool], None]

    def settle(self, **given: str | None) -> Settings:
        """Returns the user's arguments; for None those of the weights, else the defaults.

        Raises:
          ValueError: an argument is not one of its choices, or differs from that of the weights.
        """
        settled = {}
        for name, value in given.items():
            trained = self.settings.get(name)
            if value is not None:
                check_choice(name, value, _CHOICES[name])
            if None not in (value, trained) and value != trained:
                raise ValueError(
                    f"`{name}` must be {trained!r} or None with the weights {self.argument!r}: "
                    "they were trained with it, and the network would give wrong results. "
                    f"Received: {name}={value!r}"
                )
            settled[name] = value or trained or _DEFAULTS[name]
        # Not every network has a convention.
        return Settings(**{**_DEFAULTS, **settled})

    def check(self, **given: bool) -> None:
        """Raises ValueError if an argument without a None differs from that of the weights."""
        for name, value in given.items():
            trained = self.settings.get(name, value)
            if value != trained:
                raise ValueError(
                    f"`{name}` must be {trained} with the weights {self.argument!r}: they were "
                    "trained with it, and the network would give wrong results. "
                    f"Received: {name}={value}"
                )


def find_weights(
    weights: Any,
    network: str,
    scale: float | None = None,
    build: Callable[..., keras.Model] | None = None,
) -> Weights:
    """Returns the weights that `weights` names, after a download if necessary.

    Args:
      weights: None, "imagenet" or a path.
      network: the network that gets the weights, a key of `NETWORKS`.
      scale: ShuffleNetV2's scale; the others have no weights to download.
      build: the function `ShuffleNetV2`, for the same.

    Raises:
      ValueError: `weights` is something else, or a file is damaged or of another network.
      FileNotFoundError: there is no such file.
      ImportError: the package that reads the file is not installed.
      ConnectionError: the weights cannot be downloaded.
    """
    if weights is None:
        return Weights(None, {}, lambda model, include_top: None)
    if weights == IMAGENET:
        return _find_imagenet(network, scale, build)
    if isinstance(weights, str | os.PathLike):
        path = str(weights)
        if path.endswith(KERAS_SUFFIXES):
            return _find_keras(path, network)
        if path.removesuffix(EMA).endswith(CHECKPOINT_SUFFIXES):
            return _find_checkpoint(path, network)
    suffixes = ", ".join((*KERAS_SUFFIXES, *CHECKPOINT_SUFFIXES))
    raise ValueError(
        f"`weights` must be None (random), {IMAGENET!r} or the path of a file that ends with one "
        f"of {suffixes}. Received: weights={weights!r}"
    )


def _find_imagenet(
    network: str, scale: float | None, build: Callable[..., keras.Model] | None
) -> Weights:
    if build is None:
        raise ValueError(
            f"`weights`='imagenet' is for ShuffleNetV2: {NETWORKS[network].title}'s weights are "
            "not published for download; name the path of one of Megvii's checkpoints"
        )
    checkpoint = pretrained.imagenet(scale, build)
    return Weights(
        IMAGENET,
        {**checkpoint.format.settings, **_PYTORCHS},
        lambda model, include_top: checkpoint_weights.load(model, checkpoint),
    )


def _find_checkpoint(path: str, network: str) -> Weights:
    tensors = read_tensors(path)
    known = recognize(tensors, path)
    if known.network != network:
        raise ValueError(
            f"`weights` file {path!r} is {known.title}, not a {network}; build a {known.network}"
        )
    checkpoint = checkpoint_weights.Checkpoint(path, known, tensors)
    return Weights(
        path,
        {**settings_of(known, tensors), **_PYTORCHS},
        lambda model, include_top: checkpoint_weights.load(model, checkpoint),
    )


def _find_keras(path: str, network: str) -> Weights:
    if not Path(path).is_file():
        raise FileNotFoundError(f"`weights` names a file that does not exist: {path!r}; check it")
    settings = keras_settings(path)
    arrays = NETWORKS[network].classifier_arrays
    return Weights(path, settings, lambda model, top: load_keras_weights(model, path, top, arrays))


def keras_settings(path: str) -> dict[str, Any]:
    """Returns what a `.keras` or `.weights.h5` file of a network says about its arguments, by name.

    Nothing in the file is run. For a damaged file, or one of another model, there are no settings;
    loading its weights will fail.
    """
    try:
        if path.endswith(".weights.h5"):
            return _stem_of_arrays(path)
        check_archive(path)
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        configs = {layer["config"]["name"]: layer["config"] for layer in layers}
        unit = configs["stage2_unit1"]
        stem = configs["stem_conv"]
        flags = {"small_images": tuple(stem["strides"]) == (1, 1), "shuffle": unit.get("shuffle")}
        found = {
            "padding": unit["padding"],
            # Older files do not have it.
            "convention": unit.get("convention", _DEFAULTS["convention"]),
            "preprocessing": stem.get("preprocessing"),
        }
    except DAMAGED:
        return {}
    known = {name: value for name, value in found.items() if value in _CHOICES[name]}
    return {**known, **{name: value for name, value in flags.items() if isinstance(value, bool)}}


def _stem_of_arrays(path: str) -> dict[str, bool]:
    """Returns `small_images` by the layers that a file lists, with or without weights."""
    with open_keras_file(path) as file:
        layers = set(file["layers"])
    if _WITHOUT_POOL in layers:
        return {}
    # A file that does not even list the input lists only layers with weights.
    return {"small_images": "max_pooling2d" not in layers} if "input_layer" in layers else {}


def load_keras_weights(
    model: keras.Model, path: str, include_top: bool, classifier_arrays: int = 2
) -> None:
    """Loads the weights of a `.weights.h5` or `.keras` file of the same network into `model`.

    The file may have a classifier, of so many arrays, when the model has none. A classifier with
    another number of classes keeps its random weights.

    Raises:
      ValueError: the file is damaged, or is of another network.
    """
    try:
        stored, classes = _stored(path)
    except DAMAGED as error:
        raise ValueError(f"`weights` file {path!r} is damaged: {error}; get it again") from error
    # Keras finds layers by class and position: without a warning, it would load a longer network's
    # file into a shorter network.
    classifier = 0 if include_top else classifier_arrays
    if stored - len(model.weights) not in (0, classifier):
        raise ValueError(
            f"`weights` file {path!r} is of another network: it holds {stored} arrays, "
            f"and this one has {len(model.weights)}; {_REMEDY}"
        )
    target = _with_classes(model, classes) if include_top and classes else model
    try:
        target.load_weights(path)
    except Exception as error:  # Keras lets h5py's errors through, and raises ValueError.
        raise ValueError(f"`weights` file {path!r} is {_reason(error)}") from error


def _with_classes(model: keras.Model, classes: int) -> keras.Model:
    """Returns `model`, or its layers below another classifier if `classes` differs."""
    last = model.get_layer("predictions")
    if last.units == classes:
        return model
    classifier = keras.layers.Dense(classes, use_bias=last.use_bias, name="predictions")
    return keras.Model(model.input, classifier(last.input))


def _reason(error: Exception) -> str:
    """Returns what a failed load means, with the shapes of Keras's message if it has some."""
    found = _SHAPES.search(str(error))
    if found:
        here, there, name = found.groups()
        shapes = f"{name} has the shape {there} there, but {here} here"
        return f"of another network: {shapes}; {_REMEDY}"
    first = str(error).strip().partition("\n")[0]
    reason = first or type(error).__name__
    return f"damaged or of another network: {reason}; get it again, or {_REMEDY}"


def _stored(path: str) -> tuple[int, int | None]:
    """Returns the number of the layers' arrays in a weights file, and the classifier's classes.

    The optimizer's arrays and the states of random generators do not count; without a classifier,
    the classes are None.
    """
    count = 0

    def visit(name: str, node: Any) -> None:
        nonlocal count
        count += isinstance(node, h5py.Dataset) and "seed_generator" not in name

    with open_keras_file(path) as file:
        file["layers"].visititems(visit)
        # Keras names a layer after its class; the networks have one Dense.
        kernel = file["layers"].get("dense/vars/0")
        is_matrix = isinstance(kernel, h5py.Dataset) and kernel.ndim == 2
        return count, kernel.shape[1] if is_matrix else None


def open_keras_file(path: str) -> h5py.File:
    """Opens the arrays of a `.weights.h5` or `.keras` file for reading.

    Raises:
      One of `limits.DAMAGED`: the file is damaged, or unpacks to far more than its size.
    """
    if path.endswith(".weights.h5"):
        file = h5py.File(path, "r")
    else:
        check_archive(path)
        with zipfile.ZipFile(path) as archive:
            file = h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")
    check_arrays(file, Path(path).stat().st_size)
    return file
