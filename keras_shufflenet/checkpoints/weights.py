"""Loads a PyTorch checkpoint's weights into our networks, and writes torchvision's format."""

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_shufflenet.checkpoints.names import COUNTER, TORCHVISION, Format, key_names
from keras_shufflenet.units import ShuffleUnitV2

_UNIT = re.compile(r"stage\d+_unit\d+")

# Axes of PyTorch's kernels in Keras's order, and the other way round.
_CONVOLUTION = ((2, 3, 1, 0), (3, 2, 0, 1))  # OIHW, HWIO
_DEPTHWISE = ((2, 3, 0, 1), (2, 3, 0, 1))  # C1HW, HWC1
_DENSE = ((1, 0), (1, 0))
# Dense layers of theirs that are 1x1 convolutions on a 1x1 map in ours.
_AS_CONVOLUTION = (
    "head_dense/kernel",
    "squeeze_excite/reduce/kernel",
    "squeeze_excite/expand/kernel",
)


class Checkpoint(NamedTuple):
    """Tensors of a known family.

    Attributes:
      path: the file, for messages.
      format: the family.
      tensors: by key, in the file's order.
    """

    path: str | os.PathLike
    format: Format
    tensors: Mapping[str, np.ndarray]

    @property
    def classes(self) -> int | None:
        """The number of classes; None without a classifier."""
        weight = self.tensors.get(f"{self.format.layers.get('predictions')}.weight")
        return None if weight is None or weight.ndim != 2 else weight.shape[0]


def load(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Loads a checkpoint's weights into `model`: all of them, or none after an error.

    A classifier with another number of classes keeps its random weights, and so does what comes
    after the stages if the checkpoint has nothing there.

    Args:
      model: a network with the settings of the checkpoint's format.
      checkpoint: a checkpoint that `recognize` accepted.

    Raises:
      ValueError: a key does not fit or is missing, a shape is wrong, or a value is not finite; the
        message names the key.
    """
    weights = {weight.path: weight for weight in model.weights}
    keys = key_names(checkpoint.format, unit_blocks(model))
    parts = _classifier_parts(checkpoint)
    classifier = {path for path in (*keys, *weights) if path.startswith(parts)}
    # If the file has no classifier, the error below names the key that is missing.
    kept = (
        _classes(model) is not None
        and checkpoint.classes in (None, _classes(model))
        and not checkpoint.format.only_features
    )
    arrays = {}
    paths = {key: path for path, key in keys.items()}
    ignored = re.compile(checkpoint.format.ignored or "(?!)")
    for key, tensor in checkpoint.tensors.items():
        path = paths.get(key)
        if key.endswith(f".{COUNTER}") or ignored.fullmatch(key):
            continue
        if path in classifier and not kept:
            continue
        if path not in weights:
            raise _misfit(checkpoint, f"its key {key!r} has no place in this {model.name}")
        arrays[path] = _to_keras(model, checkpoint, key, tensor, path, weights[path].shape)
    if kept and not checkpoint.format.bias and "predictions/bias" in weights:
        arrays["predictions/bias"] = np.zeros(_classes(model), np.float32)
    for path in weights:
        if path not in arrays and not (path in classifier and not kept):
            raise _misfit(checkpoint, f"it has no {keys.get(path, 'key')!r} for {path}")
    for path, array in arrays.items():
        weights[path].assign(array)


def torchvision_tensors(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns a network's weights with the names and layouts of torchvision's ShuffleNetV2.

    Args:
      model: a ShuffleNetV2 of three stages with padding="symmetric", convention="paper", a stem of
        stride 2 and a classifier; torchvision has no other.

    Raises:
      ValueError: the model is a different one.
    """
    _check_torchvision(model)
    keys = key_names(TORCHVISION, unit_blocks(model))
    tensors = {}
    for weight in model.weights:
        key, axes = keys[weight.path], _axes(weight.path)
        array = keras.ops.convert_to_numpy(weight)
        tensors[key] = array if axes is None else array.transpose(axes[1])
        if key.endswith(".running_var"):
            tensors[key.replace("running_var", COUNTER)] = np.zeros((), np.int64)
    return tensors


def unit_names(model: keras.Model) -> list[str]:
    """Returns the names of a network's units, in order."""
    return [layer.name for layer in model.layers if _UNIT.fullmatch(layer.name)]


def unit_blocks(model: keras.Model) -> dict[str, str | None]:
    """Returns the names of a network's units, in order, and their blocks if they have such."""
    return {name: getattr(model.get_layer(name), "block", None) for name in unit_names(model)}


def _classifier_parts(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Returns how the names of the layers begin that may keep random weights."""
    only_features = checkpoint.format.only_features
    return ("predictions/", "head_conv/", "head_bn/") if only_features else ("predictions/",)


def _classes(model: keras.Model) -> int | None:
    return next((layer.units for layer in model.layers if layer.name == "predictions"), None)


def _misfit(checkpoint: Checkpoint, reason: str) -> ValueError:
    return ValueError(
        f"checkpoint {str(checkpoint.path)!r} looks like {checkpoint.format.title}, but is of "
        f"another network: {reason}; build the network with the arguments that it was trained with"
    )


def _to_keras(
    model: keras.Model,
    checkpoint: Checkpoint,
    key: str,
    tensor: np.ndarray,
    path: str,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Returns a tensor in the layout of the weight at `path`, checked."""
    axes = _axes(path)
    if path.endswith(_AS_CONVOLUTION) and tensor.ndim == 2:
        tensor = tensor[:, :, np.newaxis, np.newaxis]
    if tensor.ndim != len(shape):
        raise _misfit(checkpoint, f"{key!r} has {tensor.ndim} dimensions instead of {len(shape)}")
    wanted = shape if axes is None else tuple(shape[axis] for axis in axes[1])
    if tensor.shape != wanted:
        raise _misfit(checkpoint, f"{key!r} has the shape {tensor.shape} instead of {wanted}")
    # safetensors returns bfloat16 as a type that NumPy does not count as floating point.
    if tensor.dtype.kind != "f" and tensor.dtype.name != "bfloat16":
        raise _misfit(checkpoint, f"{key!r} is {tensor.dtype}, not a floating-point type")
    array = tensor.astype(np.float32)
    if not np.isfinite(array).all() or (key.endswith(".running_var") and (array < 0).any()):
        raise ValueError(
            f"checkpoint {str(checkpoint.path)!r} is damaged: {key!r} has non-finite values or "
            "negative variances; get it again"
        )
    if axes is not None:
        array = array.transpose(axes[0])
    if checkpoint.format.bgr and path == "stem_conv/kernel":
        array = array[:, :, ::-1]
    if checkpoint.format.shuffles_late and "/depthwise" in path:
        array = _after_the_shuffle(model, array, path)
    return array


def _axes(path: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    if not path.endswith("/kernel"):
        return None
    if path.startswith("predictions/"):
        return _DENSE
    return _DEPTHWISE if "depthwise" in path else _CONVOLUTION


def _after_the_shuffle(model: keras.Model, array: np.ndarray, path: str) -> np.ndarray:
    """Returns a depthwise layer's weights in the order of the channels after V1's shuffle.

    Each channel is filtered separately, so shuffling before or after the layer is equivalent.
    """
    shuffle = model.get_layer(path.partition("/")[0]).shuffle
    if shuffle is None:
        return array
    axis = 2 if path.endswith("/kernel") else 0
    order = np.arange(array.shape[axis]).reshape(shuffle.groups, -1).T.ravel()
    return array.take(order, axis)


def _check_torchvision(model: keras.Model) -> None:
    layers: dict[str, Any] = {layer.name: layer for layer in model.layers}
    units = [layers[name] for name in unit_names(model)]
    if not units or not isinstance(units[0], ShuffleUnitV2):
        raise ValueError(
            f"torchvision has ShuffleNetV2 only; the model {model.name!r} is another: keep it as a "
            ".keras file"
        )
    stages = {unit.name.partition("_")[0] for unit in units}
    for name, is_there in {
        "padding='symmetric'": units[0].padding == "symmetric",
        "convention='paper'": units[0].convention == "paper",
        "include_top=True": "predictions" in layers,
        "small_images=False": layers["stem_conv"].strides == (2, 2),
        "three stages": len(stages) == 3,
    }.items():
        if not is_there:
            raise ValueError(
                f"torchvision's ShuffleNetV2 has {name}; the model {model.name!r} does not, and "
                "would give other results there; keep it as a .keras file"
            )
