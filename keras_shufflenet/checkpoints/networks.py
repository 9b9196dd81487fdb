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

from keras_shufflenet import (
    shufflenet_v1,
    shufflenet_v2,
    shufflenet_v2_large,
    shufflenet_v2_plus,
)
from keras_shufflenet.checkpoints.files import read_tensors, write_tensors
from keras_shufflenet.checkpoints.names import Format, recognize, settings_of, stem_channels
from keras_shufflenet.checkpoints.weights import torchvision_tensors


class Table(NamedTuple):
    """How the width of one of a checkpoint's tensors tells which of a family's networks it is.

    Attributes:
      layer: our name of the layer whose weight has the width, which is its inputs' channels.
      dimensions: of the weight.
      networks: the arguments of the network, by width.
    """

    layer: str
    dimensions: int
    networks: dict[int, dict[str, Any]]


# By the family's network; no two networks of a table have the same width there.
TABLES = {
    "shufflenet_v1": Table(
        "predictions",
        2,
        {
            one.stages[-1]: {"scale": scale, "groups": groups}
            for (scale, groups), one in shufflenet_v1.VARIANTS.items()
        },
    ),
    "shufflenet_v2": Table(
        "head_conv",
        4,
        {one.stages[-1]: {"scale": scale} for scale, one in shufflenet_v2.VARIANTS.items()},
    ),
    "shufflenet_v2_plus": Table(
        "head_conv",
        4,
        {one.stages[-1]: {"size": size} for size, one in shufflenet_v2_plus.VARIANTS.items()},
    ),
    # Their keys tell them apart.
    "shufflenet_v2_large": Table("predictions", 2, {1280: {"size": "large"}}),
    "shufflenet_v2_exlarge": Table("predictions", 2, {2560: {"size": "exlarge"}}),
}
BUILDERS = {
    "shufflenet_v1": shufflenet_v1.ShuffleNetV1,
    "shufflenet_v2": shufflenet_v2.ShuffleNetV2,
    "shufflenet_v2_plus": shufflenet_v2_plus.ShuffleNetV2Plus,
    "shufflenet_v2_large": shufflenet_v2_large.ShuffleNetV2Large,
    "shufflenet_v2_exlarge": shufflenet_v2_large.ShuffleNetV2Large,
}


class Description(NamedTuple):
    """The network that a checkpoint belongs to.

    Attributes:
      format: the family of checkpoints.
      variant: the network's arguments that say which one of the family's it is: scale, groups or
        size.
      classes: number of classes.
      channels: of the images.
      settings: the arguments with which our network equals this one.
    """

    format: Format
    variant: dict[str, Any]
    classes: int
    channels: int
    settings: dict[str, str]

    def __str__(self) -> str:
        forms = {"scale": " {}x", "groups": ", {} groups", "size": ", size {}"}
        variant = "".join(forms[name].format(value) for name, value in self.variant.items())
        channels = "" if self.channels == 3 else f", {self.channels} input channels"
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{self.format.title}{variant}, {self.classes} classes{channels}: {settings}"


def describe(tensors: Mapping[str, np.ndarray], path: str | os.PathLike) -> Description:
    """Returns the network that a checkpoint belongs to, from its keys and its widths.

    Args:
      tensors: the result of `read_tensors`.
      path: the file, for messages.

    Raises:
      ValueError: it belongs to no network of the papers.
    """
    known = recognize(tensors, path)
    if known.only_features:
        raise ValueError(
            f"checkpoint {str(path)!r} is {known.title}, which ends after the stages: it is no "
            "network of its own; name it as the weights of a detector's training, or of a "
            "ShuffleNetV2 that you take `features` of"
        )
    classifier = _shape(tensors, f"{known.layers['predictions']}.weight", 2, path)
    table = TABLES[known.network]
    key = f"{known.layers[table.layer]}.weight"
    width = _shape(tensors, key, table.dimensions, path)[1]
    if width not in table.networks:
        raise ValueError(
            f"checkpoint {str(path)!r} looks like {known.title}, but {key!r} takes {width} "
            f"channels; its networks have {', '.join(map(str, sorted(table.networks)))}: build "
            "yours with stage_channels=… and name the file as its weights"
        )
    channels = stem_channels(known, tensors) or 3
    settings = settings_of(known, tensors)
    return Description(known, table.networks[width], classifier[0], channels, settings)


def arguments_of(tensors: Mapping[str, np.ndarray], path: str | os.PathLike) -> dict[str, Any]:
    """Returns what a checkpoint says of the arguments of its network.

    Args:
      tensors, path: as in `describe`; the checkpoint may have no classifier, widths that the papers
        do not have, or end after the stages.

    Returns:
      Its settings, and what says which one of its family's it is, such as the scale, if it is one.

    Raises:
      ValueError: it belongs to no family.
    """
    known = recognize(tensors, path)
    table = TABLES[known.network]
    key, factor = f"{known.layers.get(table.layer)}.weight", 1
    if known.only_features:
        # The second unit of the last stage takes half of its channels.
        unit = known.unit.format(stage=4, unit=1)
        key, factor = f"{unit}.{known.unit_layers['pointwise1']}.weight", 2
    shape = tensors[key].shape if key in tensors else (0, 0)
    variant = table.networks.get(factor * shape[1], {}) if len(shape) > 1 else {}
    return {**variant, **settings_of(known, tensors)}


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
      **arguments: of the network's function, in addition to those that the file implies.

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
    return BUILDERS[described.format.network](**described.variant, **arguments)


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
