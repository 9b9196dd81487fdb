"""ShuffleNet V2 (Ma et al., 2018, https://arxiv.org/abs/1807.11164)."""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from keras_shufflenet import network
from keras_shufflenet.checkpoints.weights_argument import find_weights
from keras_shufflenet.layers import batch_norm, check_choice, pointwise
from keras_shufflenet.units import ShuffleUnitV2


class Variant(NamedTuple):
    """One column of the paper's Table 5: output channels."""

    stem: int
    stages: tuple[int, ...]
    head: int


# By scale.
VARIANTS = {
    0.5: Variant(24, (48, 96, 192), 1024),
    1.0: Variant(24, (116, 232, 464), 1024),
    1.5: Variant(24, (176, 352, 704), 1024),
    2.0: Variant(24, (244, 488, 976), 2048),
}


def ShuffleNetV2(
    scale: float = 1.0,
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
    head_channels: int | None = None,
    first_depthwise: bool = False,
) -> keras.Model:
    """Returns a ShuffleNet V2 as a functional model (V2 paper, section 3.2 and Table 5).

    Multiply-adds and parameters (including gamma and beta, without moving statistics) at 224 pixels
    and 1000 classes, next to the paper's millions of multiply-adds:

    | scale | multiply-adds | paper | deviation | parameters |
    |-------|---------------|-------|-----------|------------|
    | 0.5   |    40,476,448 |    41 | -1.3%     |  1,366,792 |
    | 1.0   |   144,907,992 |   146 | -0.7%     |  2,278,604 |
    | 1.5   |   295,759,392 |   299 | -1.1%     |  3,503,624 |
    | 2.0   |   583,253,464 |   591 | -1.3%     |  7,393,996 |

    None of them rounds to the paper's number. With `convention="megvii"`, which has a wider main
    path in Stage2's first unit, 1.0x, 1.5x and 2.0x have 145,814,296, 298,970,656 and 590,783,000.

    Args:
      scale: 0.5, 1.0, 1.5 or 2.0; it chooses the widths that are not given below.
      include_top: whether to include the classifier (global pool and dense layer).
      weights: None (random), "imagenet" (torchvision's, downloaded once: docs/checkpoints.md), or
        the path of a file: `.weights.h5` or `.keras` of the same network, or a checkpoint of
        torchvision's or Megvii's code, `.pth`, `.safetensors` or `.npz`.
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
      convention: "paper" or "megvii", whose code shuffles at another place and has a narrower first
        shortcut. None: as `weights` were trained, else "paper".
      preprocessing: the mode of `preprocess_input` that the network expects and that is saved in it
        (`preprocessing_of`): "tf", "torch", "unit" or "raw". None: that of `weights`, if known.
      small_images: for 32 to 64 pixels: the stem has stride 1 and no max-pool.
      units_per_stage: number of units of each stage.
      stem_channels: output channels of the stem.
      stage_channels: output channels of each stage, even.
      head_channels: output channels of the last 1x1 convolution.
      first_depthwise: V2*, the paper's network for detectors (section 4): each unit begins with
        another depthwise 3x3, so that a point sees more of the image.

    Returns:
      A keras.Model from (batch, height, width, channels), floating point, normalized by
      `preprocess_input`, to (batch, classes). Without a classifier, its output has the head's
      channels: (batch, height / 32, width / 32, channels), rounded up (/ 8 for small images), or,
      pooled, (batch, channels).

    Raises:
      ValueError: an argument is not as above; the message gives its name and value. A weights file
        is damaged or of another network, or was trained with another `padding`, `convention`,
        `preprocessing` or `small_images`.
      FileNotFoundError: `weights` names a file that does not exist.
      ImportError: the file needs a package that is not installed.
      ConnectionError: the weights cannot be downloaded.

    Examples:
      >>> model = keras_shufflenet.ShuffleNetV2(scale=0.5, input_shape=(96, 96, 1), classes=2)
    """
    network.check_arguments(pooling, classes)
    found = find_weights(weights, "shufflenet_v2", scale, ShuffleNetV2)
    settings = found.settle(padding=padding, convention=convention, preprocessing=preprocessing)
    found.check(small_images=small_images)
    network.check_widths(stem_channels=stem_channels, head_channels=head_channels)
    network.check_stages("units_per_stage", units_per_stage)
    if stage_channels is not None:
        network.check_stages("stage_channels", stage_channels)
    variant = _variant(scale, stem_channels, stage_channels, head_channels)
    network.check_same_length(units_per_stage, variant.stages)
    network.check_even(variant.stages)
    inputs = network.network_input(input_tensor, input_shape, small_images)

    make_unit = functools.partial(
        ShuffleUnitV2,
        padding=settings.padding,
        convention=settings.convention,
        first_depthwise=first_depthwise,
    )
    x = network.stem(inputs, variant.stem, settings, small_images)
    x = network.stages(x, units_per_stage, variant.stages, make_unit)
    x = pointwise(variant.head, name="head_conv")(x)
    x = batch_norm(name="head_bn")(x)
    x = keras.layers.ReLU(name="head_relu")(x)
    outputs = network.top(x, include_top, pooling, classes, classifier_activation)
    name = name or "shufflenet_v2"
    return network.make_model(inputs, outputs, name, found, include_top)


def _variant(
    scale: float, stem: int | None, stage_channels: Sequence[int] | None, head: int | None
) -> Variant:
    """Returns the widths: those given, and the table's at `scale` for the others."""
    if None not in (stem, stage_channels, head):
        return Variant(stem, tuple(stage_channels), head)
    check_choice("scale", scale, tuple(VARIANTS))
    variant = VARIANTS[scale]
    return Variant(
        variant.stem if stem is None else stem,
        variant.stages if stage_channels is None else tuple(stage_channels),
        variant.head if head is None else head,
    )
