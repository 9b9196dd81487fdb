"""The names of weights in PyTorch checkpoints and in our networks, as data.

A name here is that of a layer; the last part, the weight's, only depends on the kind of layer.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Format(NamedTuple):
    """A family of checkpoints.

    Attributes:
      title: its name in messages.
      network: "shufflenet_v1" or "shufflenet_v2".
      known_by: a key that only this family has.
      layers: our layers outside the units, and theirs.
      unit: the name of a unit; `stage` counts from 2, `unit` from 0 in its stage, `index` from 0
        over all units.
      unit_layers: our layers inside a unit, and theirs; a unit has only some of them.
      settings: the arguments with which our network equals theirs.
      bias: whether the classifier has a bias; if not, it is zero in ours.
      bgr: whether the channels are blue, green, red; the stem's weights are reversed.
      shuffles_late: whether V1's shuffle comes after the depthwise convolution, not before it.
    """

    title: str
    network: str
    known_by: str
    layers: dict[str, str]
    unit: str
    unit_layers: dict[str, str]
    settings: dict[str, str]
    bias: bool = True
    bgr: bool = False
    shuffles_late: bool = False


_COLOURS = ("red", "green", "blue")
_MEGVII = {"padding": "symmetric", "convention": "megvii", "preprocessing": "raw"}

FORMATS = (
    # torchvision/models/shufflenetv2.py
    Format(
        title="torchvision's ShuffleNetV2",
        network="shufflenet_v2",
        known_by="stage2.0.branch2.0.weight",
        layers={
            "stem_conv": "conv1.0",
            "stem_bn": "conv1.1",
            "head_conv": "conv5.0",
            "head_bn": "conv5.1",
            "predictions": "fc",
        },
        unit="stage{stage}.{unit}",
        unit_layers={
            "shortcut_depthwise": "branch1.0",
            "shortcut_depthwise_bn": "branch1.1",
            "shortcut_pointwise": "branch1.2",
            "shortcut_pointwise_bn": "branch1.3",
            "pointwise1": "branch2.0",
            "pointwise1_bn": "branch2.1",
            "depthwise": "branch2.3",
            "depthwise_bn": "branch2.4",
            "pointwise2": "branch2.5",
            "pointwise2_bn": "branch2.6",
        },
        settings={"padding": "symmetric", "convention": "paper", "preprocessing": "torch"},
    ),
    # ShuffleNetV2/network.py and blocks.py of github.com/megvii-model/ShuffleNet-Series
    Format(
        title="Megvii's ShuffleNetV2",
        network="shufflenet_v2",
        known_by="features.0.branch_main.0.weight",
        layers={
            "stem_conv": "first_conv.0",
            "stem_bn": "first_conv.1",
            "head_conv": "conv_last.0",
            "head_bn": "conv_last.1",
            "predictions": "classifier.0",
        },
        unit="features.{index}",
        unit_layers={
            "shortcut_depthwise": "branch_proj.0",
            "shortcut_depthwise_bn": "branch_proj.1",
            "shortcut_pointwise": "branch_proj.2",
            "shortcut_pointwise_bn": "branch_proj.3",
            "pointwise1": "branch_main.0",
            "pointwise1_bn": "branch_main.1",
            "depthwise": "branch_main.3",
            "depthwise_bn": "branch_main.4",
            "pointwise2": "branch_main.5",
            "pointwise2_bn": "branch_main.6",
        },
        settings=_MEGVII,
        bias=False,
        bgr=True,
    ),
    # ShuffleNetV1/network.py and blocks.py of the same
    Format(
        title="Megvii's ShuffleNetV1",
        network="shufflenet_v1",
        known_by="features.0.branch_main_1.0.weight",
        layers={
            "stem_conv": "first_conv.0",
            "stem_bn": "first_conv.1",
            "predictions": "classifier.0",
        },
        unit="features.{index}",
        unit_layers={
            "compress": "branch_main_1.0",
            "compress_bn": "branch_main_1.1",
            "depthwise": "branch_main_1.3",
            "depthwise_bn": "branch_main_1.4",
            "expand": "branch_main_2.0",
            "expand_bn": "branch_main_2.1",
        },
        settings=_MEGVII,
        bias=False,
        bgr=True,
        shuffles_late=True,
    ),
)
TORCHVISION = FORMATS[0]

# Our weights and theirs, by the end of our layer's name.
_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_CONVOLUTION = {"kernel": "weight"}
_DENSE = {"kernel": "weight", "bias": "bias"}

# PyTorch counts the batches of each BatchNorm; nothing depends on it at its usual momentum.
COUNTER = "num_batches_tracked"


def recognize(tensors: Iterable[str], path: object) -> Format:
    """Returns the family of a checkpoint with these keys.

    Raises:
      ValueError: it belongs to no family; the message names the first key.
    """
    keys = list(tensors)
    for known in FORMATS:
        if known.known_by in keys:
            return known
    titles = ", ".join(known.title for known in FORMATS)
    raise ValueError(
        f"checkpoint {str(path)!r} is none of {titles}: its first key is {keys[0]!r}, and none is "
        + " or ".join(repr(known.known_by) for known in FORMATS)
        + "; save the state_dict() of one of these networks, with its own names"
    )


def settings_of(known: Format, tensors: Mapping[str, Any]) -> dict[str, str]:
    """Returns the arguments with which our network equals a checkpoint of a family.

    A mean for each of three colours says nothing about a stem of another number of channels.
    """
    settings = dict(known.settings)
    if stem_channels(known, tensors) not in (None, len(_COLOURS)):
        settings = {name: value for name, value in settings.items() if value != "torch"}
    return settings


def stem_channels(known: Format, tensors: Mapping[str, Any]) -> int | None:
    """Returns the channels of the images that a checkpoint is for; None without a stem's weight."""
    weight = tensors.get(f"{known.layers['stem_conv']}.weight")
    return None if weight is None or weight.ndim != 4 else weight.shape[1]


def key_names(known: Format, units: Iterable[str]) -> dict[str, str]:
    """Returns the checkpoint's key for each path that one of our weights can have.

    Args:
      known: the family.
      units: names of the network's units, such as "stage2_unit1", in order.
    """
    layers = dict(known.layers)
    for index, name in enumerate(units):
        stage, unit = name.removeprefix("stage").split("_unit")
        theirs = known.unit.format(stage=stage, unit=int(unit) - 1, index=index)
        layers |= {f"{name}/{one}": f"{theirs}.{two}" for one, two in known.unit_layers.items()}
    return {
        f"{ours}/{weight}": f"{theirs}.{key}"
        for ours, theirs in layers.items()
        for weight, key in _weights(ours).items()
    }


def _weights(layer: str) -> dict[str, str]:
    if layer.endswith("_bn"):
        return _BATCH_NORM
    return _DENSE if layer == "predictions" else _CONVOLUTION
