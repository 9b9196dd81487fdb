"""ShuffleNet V1 (Zhang et al., 2017, https://arxiv.org/abs/1707.01083)."""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from keras_shufflenet import network
from keras_shufflenet.checkpoints.weights_argument import find_weights
from keras_shufflenet.layers import check_choice, check_positive_int
from keras_shufflenet.units import ShuffleUnit


class Variant(NamedTuple):
    """Output channels of the stem and of the stages."""

    stem: int
    stages: tuple[int, ...]


# By (scale, groups): the paper's Table 1 times the scale. The paper gives the stem only at 1x; the
# others follow from its multiply-adds, and Megvii's code has the same. With 8 groups, after a stem
# of 12 the channels of Stage2's first unit would not be a multiple of 8: 16 at 0.5x is Megvii's
# choice, 8 at 0.25x comes closest to the paper's 13 million.
VARIANTS = {
    (0.25, 1): Variant(12, (36, 72, 144)),
    (0.25, 2): Variant(12, (50, 100, 200)),
    (0.25, 3): Variant(12, (60, 120, 240)),
    (0.25, 4): Variant(12, (68, 136, 272)),
    (0.25, 8): Variant(8, (96, 192, 384)),
    (0.5, 1): Variant(12, (72, 144, 288)),
    (0.5, 2): Variant(12, (100, 200, 400)),
    (0.5, 3): Variant(12, (120, 240, 480)),
    (0.5, 4): Variant(12, (136, 272, 544)),
    (0.5, 8): Variant(16, (192, 384, 768)),
    (1.0, 1): Variant(24, (144, 288, 576)),
    (1.0, 2): Variant(24, (200, 400, 800)),
    (1.0, 3): Variant(24, (240, 480, 960)),
    (1.0, 4): Variant(24, (272, 544, 1088)),
    (1.0, 8): Variant(24, (384, 768, 1536)),
    (1.5, 1): Variant(24, (216, 432, 864)),
    (1.5, 2): Variant(24, (300, 600, 1200)),
    (1.5, 3): Variant(24, (360, 720, 1440)),
    (1.5, 4): Variant(24, (408, 816, 1632)),
    (1.5, 8): Variant(24, (576, 1152, 2304)),
    (2.0, 1): Variant(48, (288, 576, 1152)),
    (2.0, 2): Variant(48, (400, 800, 1600)),
    (2.0, 3): Variant(48, (480, 960, 1920)),
    (2.0, 4): Variant(48, (544, 1088, 2176)),
    (2.0, 8): Variant(48, (768, 1536, 3072)),
}

# For `units_per_stage`: the paper's "shallow" network of 26 layers (Table 5), with half of the
# blocks removed.
SHALLOW_UNITS = (2, 4, 2)


def ShuffleNetV1(
    scale: float = 1.0,
    groups: int = 3,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str | None = None,
    *,
    padding: str | None = None,
    convention: str | None = None,
    preprocessing: str | None = None,
    small_images: bool = False,
    units_per_stage: Sequence[int] = (4, 8, 4),
    stem_channels: int | None = None,
    stage_channels: Sequence[int] | None = None,
    shuffle: bool = True,
    se: bool = False,
) -> keras.Model:
    """Returns a ShuffleNet V1 as a functional model (V1 paper, section 3.3 and Table 1).

    Million multiply-adds at 224 pixels and 1000 classes, next to the paper's (Tables 1, 2 and 5):

    | scale | g=1   | g=2   | g=3   | g=4   | g=8   | paper               |
    |-------|-------|-------|-------|-------|-------|---------------------|
    | 0.25  |  13.2 |  13.4 |  13.3 |  13.4 |  12.4 | 13                  |
    | 0.5   |  38.5 |  38.6 |  37.6 |  37.5 |  40.5 | 38                  |
    | 1.0   | 143.1 | 140.8 | 137.5 | 134.3 | 138.4 | 143 140 137 133 137 |
    | 1.5   | 308.1 | 302.2 | 292.4 | 285.8 | 290.2 | 292 (g=3)           |
    | 2.0   | 550.3 | 539.1 | 524.0 | 510.3 | 521.9 | 524 (g=3)           |

    At 1x, the paper's five figures equal these without the classifier, after rounding; with it, as
    counted here, g=2, 4 and 8 are 1 million higher. At 1.5x and 2x, the paper's figures include the
    classifier, also for 2x g=3 with `se` (526.9; the paper prints 527). At 0.5x and 0.25x, where
    the paper has one figure for all groups, g=8 differs by 6.5% and -4.4%, the others by at most
    3%. The shallow 0.5x g=3 has 21.6 million; the paper prints 40, which half of the units cannot
    reach.

    Args:
      scale: 0.25, 0.5, 1.0, 1.5 or 2.0; it chooses the widths that are not given below.
      groups: 1, 2, 3, 4 or 8 groups of the 1x1 convolutions; if all widths are given, any number
        that divides them.
      include_top: whether to include the classifier (global pool and dense layer).
      weights: None (random) or the path of a file: `.weights.h5` or `.keras` of the same network,
        or a checkpoint of Megvii's code, `.pth`, `.safetensors` or `.npz` (docs/checkpoints.md).
      input_tensor: a Keras tensor to use as the input, instead of a new one.
      input_shape: (height, width, channels); height and width are at least 32, or None if they are
        unknown. (224, 224, 3) by default, (32, 32, 3) for small images.
      pooling: without a classifier, None (a feature map), "avg" or "max".
      classes: number of classes of the classifier; if the weights have another number, only the
        classifier stays random.
      classifier_activation: activation of the classifier; None gives logits.
      name: the model's name.
      padding: "same" (TensorFlow's: no padding operators) or "symmetric" (PyTorch's: for weights
        trained there). None: as `weights` were trained, else "same".
      convention: "paper" or "megvii", whose code shuffles the other way. None: as `weights` were
        trained, else "paper".
      preprocessing: the mode of `preprocess_input` that the network expects and that is saved in it
        (`preprocessing_of`): "tf", "torch", "unit" or "raw". None: that of `weights`, if known.
      small_images: for 32 to 64 pixels: the stem has stride 1 and no max-pool.
      units_per_stage: number of units of each stage; `SHALLOW_UNITS` for the shallow network.
      stem_channels: output channels of the stem.
      stage_channels: output channels of each stage, increasing multiples of `groups`.
      shuffle: False omits the shuffles (Table 3).
      se: True adds Squeeze-and-Excitation to every unit (Table 5).

    Returns:
      A keras.Model from (batch, height, width, channels), floating point, normalized by
      `preprocess_input`, to (batch, classes). Without a classifier, its output has the last stage's
      channels: (batch, height / 32, width / 32, channels), rounded up (/ 8 for small images), or,
      pooled, (batch, channels).

    Raises:
      ValueError: an argument is not as above; the message gives its name and value. A weights file
        is damaged or of another network, or was trained with another `padding`, `convention`,
        `preprocessing`, `small_images` or `shuffle`.
      FileNotFoundError: `weights` names a file that does not exist.
      ImportError: the file needs a package that is not installed.

    Examples:
      >>> model = keras_shufflenet.ShuffleNetV1(scale=0.5, groups=8, classes=10)
    """
    network.check_arguments(pooling, classes)
    found = find_weights(weights, "shufflenet_v1")
    settings = found.settle(padding=padding, convention=convention, preprocessing=preprocessing)
    found.check(small_images=small_images, shuffle=shuffle)
    network.check_widths(stem_channels=stem_channels)
    network.check_stages("units_per_stage", units_per_stage)
    if stage_channels is not None:
        network.check_stages("stage_channels", stage_channels)
    variant = _variant(scale, groups, stem_channels, stage_channels)
    network.check_same_length(units_per_stage, variant.stages)
    _check_groups(variant, groups)
    inputs = network.network_input(input_tensor, input_shape, small_images)

    def make_unit(filters: int, stride: int, name: str) -> ShuffleUnit:
        # Table 1: the input of Stage2's first unit has too few channels to be grouped.
        first = name == "stage2_unit1"
        return ShuffleUnit(
            filters,
            groups,
            stride,
            settings.padding,
            not first,
            shuffle,
            se,
            settings.convention,
            name=name,
        )

    x = network.stem(inputs, variant.stem, settings, small_images)
    x = network.stages(x, units_per_stage, variant.stages, make_unit)
    outputs = network.top(x, include_top, pooling, classes, classifier_activation)
    name = name or "shufflenet_v1"
    return network.make_model(inputs, outputs, name, found, include_top)


def _variant(
    scale: float, groups: int, stem: int | None, stage_channels: Sequence[int] | None
) -> Variant:
    """Returns the widths: those given, and the table's at `scale` and `groups` for the others."""
    if None not in (stem, stage_channels):
        check_positive_int("groups", groups)
        return Variant(stem, tuple(stage_channels))
    check_choice("scale", scale, sorted({scale for scale, _ in VARIANTS}))
    check_choice("groups", groups, sorted({groups for _, groups in VARIANTS}))
    variant = VARIANTS[scale, groups]
    return Variant(
        variant.stem if stem is None else stem,
        variant.stages if stage_channels is None else tuple(stage_channels),
    )


def _check_groups(variant: Variant, groups: int) -> None:
    """Raises ValueError unless every convolution can be divided into `groups`.

    A stage's first unit concatenates its input, so each width must exceed the previous one by a
    multiple of `groups`.
    """
    before = variant.stem
    for channels in variant.stages:
        if channels % groups:
            near = channels // groups * groups
            raise ValueError(
                f"`stage_channels` must be multiples of groups={groups} (e.g. {near} or "
                f"{near + groups}). Received: {channels} in {variant.stages}"
            )
        if channels <= before or (channels - before) % groups:
            raise ValueError(
                f"`stem_channels` and `stage_channels` must be growing multiples of "
                f"groups={groups}, because a stage's first unit concatenates its input. "
                f"Received: {channels} after {before} in {variant}"
            )
        before = channels
