"""PyTorch checkpoints of torchvision's and Megvii's code: into Keras; torchvision's also back.

    python -m keras_shufflenet.checkpoints inspect checkpoint.pth
    python -m keras_shufflenet.checkpoints convert checkpoint.pth --output=model.keras
    python -m keras_shufflenet.checkpoints convert model.keras --output=model.safetensors

`ShuffleNetV2(weights=…)` reads the same files. docs/checkpoints.md says what is read and checked.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_shufflenet import shufflenet_v1, shufflenet_v2
from keras_shufflenet.checkpoints.files import read_tensors, write_tensors
from keras_shufflenet.checkpoints.names import Format, recognize, settings_of, stem_channels
from keras_shufflenet.checkpoints.weights import torchvision_tensors


class Description(NamedTuple):
    """The network that a checkpoint belongs to.

    Attributes:
      format: the family of checkpoints.
      scale, groups, classes: the network's arguments; groups is None for V2.
      channels: of the images.
      settings: the arguments with which our network equals this one.
    """

    format: Format
    scale: float
    groups: int | None
    classes: int
    channels: int
    settings: dict[str, str]

    def __str__(self) -> str:
        groups = "" if self.groups is None else f", {self.groups} groups"
        channels = "" if self.channels == 3 else f", {self.channels} input channels"
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        network = f"{self.format.title} {self.scale}x{groups}"
        return f"{network}, {self.classes} classes{channels}: {settings}"


def describe(tensors: Mapping[str, np.ndarray], path: str | os.PathLike) -> Description:
    """Returns the network that a checkpoint belongs to, from its keys and its widths.

    Args:
      tensors: the result of `read_tensors`.
      path: the file, for messages.

    Raises:
      ValueError: it belongs to no network of the papers.
    """
    known = recognize(tensors, path)
    classifier = _shape(tensors, f"{known.layers['predictions']}.weight", 2, path)
    if known.network == "shufflenet_v2":
        key = f"{known.layers['head_conv']}.weight"
        variants = {one.stages[-1]: (scale, None) for scale, one in shufflenet_v2.VARIANTS.items()}
        width = _shape(tensors, key, 4, path)[1]
    else:
        key = f"{known.layers['predictions']}.weight"
        # No two networks of the table have the same last width.
        variants = {one.stages[-1]: which for which, one in shufflenet_v1.VARIANTS.items()}
        width = classifier[1]
    if width not in variants:
        raise ValueError(
            f"checkpoint {str(path)!r} looks like {known.title}, but {key!r} takes {width} "
            f"channels; the paper's networks have {', '.join(map(str, sorted(variants)))}: build "
            "yours with stage_channels=… and name the file as its weights"
        )
    channels = stem_channels(known, tensors) or 3
    settings = settings_of(known, tensors)
    return Description(known, *variants[width], classifier[0], channels, settings)


def _shape(
    tensors: Mapping[str, np.ndarray], key: str, dimensions: int, path: str | os.PathLike
) -> tuple[int, ...]:
    if key not in tensors or tensors[key].ndim != dimensions:
        raise ValueError(
            f"checkpoint {str(path)!r} has no {key!r} of {dimensions} dimensions: it is of another "
            "network, or incomplete; get it again, or name it as the weights of a network that you "
            "build"
        )
    return tensors[key].shape


def load_checkpoint(path: str | os.PathLike, **arguments: Any) -> keras.Model:
    """Returns the network that a PyTorch checkpoint belongs to, with its weights.

    Args:
      path: a `.pth`, `.safetensors` or `.npz` file of torchvision's or Megvii's code.
      **arguments: of `ShuffleNetV1` or `ShuffleNetV2`, in addition to those that the file implies.

    Raises:
      ValueError: the file is damaged, or of another network; the message names the first key.
      FileNotFoundError: there is no such file.
      ImportError: the package that reads it is not installed.

    Examples:
      >>> model = load_checkpoint("model.safetensors", classifier_activation=None)
      >>> model.name, model.output_shape
      ('shufflenet_v2', (None, 10))
    """
    described = describe(read_tensors(path), path)
    size = shufflenet_v2.network.DEFAULT_SIZE
    arguments = {
        "classes": described.classes,
        "weights": path,
        "input_shape": (size, size, described.channels),
        **arguments,
    }
    if described.groups is None:
        return shufflenet_v2.ShuffleNetV2(described.scale, **arguments)
    return shufflenet_v1.ShuffleNetV1(described.scale, described.groups, **arguments)


def save_torchvision(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes a ShuffleNetV2's weights for torchvision's `load_state_dict`.

    Args:
      model: a ShuffleNetV2 with padding="symmetric" and a classifier. Its preprocessing,
        `preprocessing_of(model)`, is not in the file.
      path: ends with `.pth`, `.safetensors` or `.npz`; replaced if it exists.

    Raises:
      ValueError: the model is not a network that torchvision has, or the suffix is unknown.
      ImportError: the package that writes it is not installed.

    Examples:
      >>> save_torchvision(model, "model.safetensors")
    """
    write_tensors(path, torchvision_tensors(model))
