"""The names of weights in PyTorch checkpoints and in our networks, as data.

A name here is that of a layer; the last part, the weight's, only depends on the kind of layer.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Format(NamedTuple):
    """A family of checkpoints.

    Attributes:
      title: its name in messages.
      network: a key of `weights_argument.NETWORKS`.
      known_by: a key that only this family has.
      layers: our layers outside the units, and theirs.
      unit: the name of a unit; `stage` counts from 2 and `block` from 0, `unit` from 0 in its
        stage and `letter` from "a", `index` from 0 over all units.
      unit_layers: our layers inside a unit, and theirs; a unit has only some of them.
      blocks: the same for units with other main paths, by their `block`.
      stage_end: our layers after a stage's units without the stage's name, and theirs in the module
        after its last unit.
      settings: the arguments with which our network equals theirs.
      bias: whether the classifier has a bias; if not, it is zero in ours if ours has one.
      bgr: whether the channels are blue, green, red; the stem's weights are reversed.
      shuffles_late: whether V1's shuffle comes after the depthwise convolution, not before it.
      ignored: a pattern of keys that are not part of the network.
      only_features: whether it has nothing after the stages: the last convolution and the
        classifier stay random.
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
    blocks: dict[str, dict[str, str]] | None = None
    stage_end: dict[str, str] | None = None
    ignored: str | None = None
    only_features: bool = False


_SHORTCUT = {
    "shortcut_depthwise": "branch_proj.0",
    "shortcut_depthwise_bn": "branch_proj.1",
    "shortcut_pointwise": "branch_proj.2",
    "shortcut_pointwise_bn": "branch_proj.3",
}
# Of Megvii's V2, and of V2+ but for its gates.
_V2_UNIT = {
    **_SHORTCUT,
    "pointwise1": "branch_main.0",
    "pointwise1_bn": "branch_main.1",
    "depthwise": "branch_main.3",
    "depthwise_bn": "branch_main.4",
    "pointwise2": "branch_main.5",
    "pointwise2_bn": "branch_main.6",
}


def _large_layers(stem: Sequence[str]) -> dict[str, str]:
    """Returns the layers outside of the units that the two large networks have."""
    layers = {"predictions": "fc"}
    for index, ours in enumerate(stem):
        layers |= {
            f"{ours}_conv": f"first_conv.{index}.conv",
            f"{ours}_bn": f"first_conv.{index}.bn",
        }
    return layers


def _gate(ours: str, theirs: str) -> dict[str, str]:
    """Returns the layers of V2+'s Squeeze-and-Excitation."""
    return {
        f"{ours}/reduce": f"{theirs}.SE_opr.1",
        f"{ours}/reduce_bn": f"{theirs}.SE_opr.2",
        f"{ours}/expand": f"{theirs}.SE_opr.4",
    }


_COLOURS = ("red", "green", "blue")
# The classifiers of earlier stages, and the gates' layers under their second names.
_LARGE_IGNORED = r"predict_\d+\..*|.*\.se_block\..*"
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
    # ShuffleNetV2+/network.py and blocks.py of github.com/megvii-model/ShuffleNet-Series. It has
    # the keys of Megvii's ShuffleNetV2, too, so it comes first.
    Format(
        title="Megvii's ShuffleNetV2+",
        network="shufflenet_v2_plus",
        known_by="LastSE.SE_opr.1.weight",
        layers={
            "stem_conv": "first_conv.0",
            "stem_bn": "first_conv.1",
            "head_conv": "conv_last.0",
            "head_bn": "conv_last.1",
            **_gate("head_squeeze_excite", "LastSE"),
            "head_dense": "fc.0",
            "predictions": "classifier.0",
        },
        unit="features.{index}",
        unit_layers={
            **_V2_UNIT,
            **_gate("squeeze_excite", "branch_main.8"),
        },
        blocks={
            "xception": {
                **_SHORTCUT,
                "depthwise1": "branch_main.0",
                "depthwise1_bn": "branch_main.1",
                "pointwise1": "branch_main.2",
                "pointwise1_bn": "branch_main.3",
                "depthwise2": "branch_main.5",
                "depthwise2_bn": "branch_main.6",
                "pointwise2": "branch_main.7",
                "pointwise2_bn": "branch_main.8",
                "depthwise3": "branch_main.10",
                "depthwise3_bn": "branch_main.11",
                "pointwise3": "branch_main.12",
                "pointwise3_bn": "branch_main.13",
                **_gate("squeeze_excite", "branch_main.15"),
            }
        },
        settings={"padding": "symmetric", "preprocessing": "raw"},
        bias=False,
        bgr=True,
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
        unit_layers=_V2_UNIT,
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
    # ShuffleNetV2.Large/network.py of the same. It subtracts a mean image, which no mode of
    # `preprocess_input` does; its classifiers of earlier stages only serve training.
    Format(
        title="Megvii's ShuffleNetV2.Large",
        network="shufflenet_v2_large",
        known_by="features.0.2a.branch_main.0.conv.weight",
        layers={
            **_large_layers(("stem", "stem2", "stem3")),
            "head_conv": "conv_last.conv",
            "head_bn": "conv_last.bn",
        },
        unit="features.{block}.{stage}{letter}",
        unit_layers={
            "shortcut_conv": "proj.conv",
            "shortcut_conv_bn": "proj.bn",
            "pointwise1": "branch_main.0.conv",
            "pointwise1_bn": "branch_main.0.bn",
            "conv": "branch_main.1.conv",
            "conv_bn": "branch_main.1.bn",
            "pointwise2": "branch_main.2.conv",
            "pointwise2_bn": "branch_main.2.bn",
            "squeeze_excite/reduce": "se_fc1",
            "squeeze_excite/expand": "se_fc2",
            "mix": "down.conv",
            "mix_bn": "down.bn",
        },
        settings={"padding": "symmetric"},
        bgr=True,
        ignored=_LARGE_IGNORED,
    ),
    # ShuffleNetV2.ExLarge/network.py of the same
    Format(
        title="Megvii's ShuffleNetV2.ExLarge",
        network="shufflenet_v2_exlarge",
        known_by="features.0.0.branch_main.3.conv.weight",
        layers={**_large_layers(("stem", "stem2", "stem3")), "predictions": "fc.fc"},
        unit="features.{block}.{unit}",
        unit_layers={
            "shortcut_conv": "proj.conv",
            "shortcut_conv_bn": "proj.bn",
            "pointwise1": "branch_main.0.conv",
            "pointwise1_bn": "branch_main.0.bn",
            "conv": "branch_main.1.conv",
            "conv_bn": "branch_main.1.bn",
            "depthwise": "branch_main.2.conv",
            "depthwise_bn": "branch_main.2.bn",
            "pointwise2": "branch_main.3.conv",
            "pointwise2_bn": "branch_main.3.bn",
            "squeeze_excite/reduce": "se_fc1.fc",
            "squeeze_excite/expand": "se_fc2.fc",
        },
        stage_end={"mix_conv": "conv", "mix_bn": "bn"},
        settings={"padding": "symmetric", "preprocessing": "raw"},
        bgr=True,
        ignored=_LARGE_IGNORED,
    ),
    # The backbone of a detector trained on COCO, github.com/dog-qiuqiu/FastestDet: Megvii's units.
    Format(
        title="FastestDet's ShuffleNetV2",
        network="shufflenet_v2",
        known_by="backbone.stage2.0.branch_main.0.weight",
        layers={"stem_conv": "backbone.first_conv.0", "stem_bn": "backbone.first_conv.1"},
        unit="backbone.stage{stage}.{unit}",
        unit_layers=_V2_UNIT,
        settings={**_MEGVII, "preprocessing": "unit"},
        bgr=True,
        ignored=r"(?!backbone\.).*",
        only_features=True,
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
_CONVOLUTION = {"kernel": "weight", "bias": "bias"}

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


def key_names(known: Format, units: Mapping[str, str | None]) -> dict[str, str]:
    """Returns the checkpoint's key for each path that one of our weights can have.

    Args:
      known: the family.
      units: the names of the network's units, such as "stage2_unit1", in order, and their blocks if
        they have such.
    """
    layers, stage_end = dict(known.layers), known.stage_end or {}
    for index, (name, block) in enumerate(units.items()):
        inside = (known.blocks or {}).get(block, known.unit_layers)
        theirs = _unit_name(known, name, index)
        layers |= {f"{name}/{one}": f"{theirs}.{two}" for one, two in inside.items()}
        # The module after the unit; only that of a stage's last unit has a place in ours.
        stage, after = name.partition("_")[0], _unit_name(known, name, index, 1)
        layers |= {f"{stage}_{one}": f"{after}.{two}" for one, two in stage_end.items()}
    return {
        f"{ours}/{weight}": f"{theirs}.{key}"
        for ours, theirs in layers.items()
        for weight, key in (_BATCH_NORM if ours.endswith("_bn") else _CONVOLUTION).items()
    }


def _unit_name(known: Format, name: str, index: int, step: int = 0) -> str:
    """Returns their name of a unit, or of the module so many steps after it."""
    stage, unit = map(int, name.removeprefix("stage").split("_unit"))
    unit += step - 1
    letter = chr(ord("a") + unit)
    return known.unit.format(
        stage=stage, block=stage - 2, unit=unit, letter=letter, index=index + step
    )
