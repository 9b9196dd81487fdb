"""Deep ShuffleNet V2s (V2 paper, section 4 and appendix): residual connections, SE, more units."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_shufflenet import ChannelShuffle, ChannelSplit, SqueezeExcite, network
from keras_shufflenet.layers import batch_norm, pointwise

_layers = keras.layers
# Neurons between the two layers of Squeeze-and-Excitation: the appendix says half of a unit's
# channels, which is as many as its main path has.
_REDUCTION = 1


@dataclass(frozen=True)
class Depth:
    """The widths and depth of a network.

    Attributes:
      stem: channels of the 3x3 convolutions before the max-pool; the first has stride 2.
      stages: output channels of each stage.
      units: number of units of each stage.
      head: channels of the last 1x1 convolution.
      first_stride: stride of the first stage; the others have 2.
    """

    stem: tuple[int, ...]
    stages: tuple[int, ...]
    units: tuple[int, ...]
    head: int
    first_stride: int = 2


# The appendix's Table 2 (2.3 and 12.7 billion multiply-adds), and V2 0.5x with its own number of
# units and with three times as many. The paper's text does not describe the stems; these give its
# multiply-adds. The 164 layers have the stem of Megvii's public code.
DEPTHS = {
    "V2 0.5x": Depth((24,), (48, 96, 192), (4, 8, 4), 1024),
    "V2 0.5x, 3 times as deep": Depth((24,), (48, 96, 192), (12, 24, 12), 1024),
    "V2-50": Depth((64,), (244, 488, 976, 1952), (3, 4, 6, 3), 2048, 1),
    "V2-164": Depth((64, 64, 128), (340, 680, 1360, 2720), (10, 10, 23, 10), 2048, 1),
}


def build(
    depth: Depth,
    residual: bool = False,
    se: bool = False,
    input_shape: Sequence[int] | None = None,
    classes: int = 1000,
    small_images: bool = False,
) -> keras.Model:
    """Returns a ShuffleNet V2 of any depth, with random weights; its outputs are logits.

    Args:
      depth: such as `DEPTHS["V2-50"]`.
      residual: units of stride 1 add their input to the half that they compute.
      se: Squeeze-and-Excitation in every unit, before that addition.
      input_shape: (height, width, channels), 224x224x3 by default, 32x32x3 for small images.
      classes: number of classes.
      small_images: the stem has stride 1 and no max-pool.

    Examples:
      >>> model = build(DEPTHS["V2-164"], residual=True, se=True)
    """
    image = network.network_input(None, input_shape, small_images)
    x = image
    for number, filters in enumerate(depth.stem, 1):
        stride = 2 if number == 1 and not small_images else 1
        convolution = _layers.Conv2D(
            filters, 3, stride, padding="same", use_bias=False, name=f"stem{number}_conv"
        )
        x = _normalized(convolution, x)
    if not small_images:
        x = _layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, (filters, units) in enumerate(zip(depth.stages, depth.units, strict=True), 2):
        for unit in range(1, units + 1):
            first = depth.first_stride if stage == 2 else 2
            stride = first if unit == 1 else 1
            x = _unit(x, filters, stride, residual, se, f"stage{stage}_unit{unit}")
    x = _normalized(pointwise(depth.head, name="head_conv"), x)
    return keras.Model(image, network.top(x, True, None, classes, None), name="deep_shufflenet_v2")


def _unit(x: Any, filters: int, stride: int, residual: bool, se: bool, name: str) -> Any:
    """Returns `x` after a unit of V2's Figure 3, with the appendix's additions."""
    half = filters // 2
    # Also at stride 1: so the large networks begin their first stage.
    enters = stride == 2 or x.shape[-1] != filters
    if enters:
        shortcut = _depthwise(x, stride, f"{name}_shortcut_depthwise")
        shortcut = _normalized(pointwise(half, name=f"{name}_shortcut_pointwise"), shortcut)
    else:
        shortcut, x = ChannelSplit(name=f"{name}_split")(x)
    y = _normalized(pointwise(half, name=f"{name}_pointwise1"), x)
    y = _depthwise(y, stride, f"{name}_depthwise")
    y = pointwise(half, name=f"{name}_pointwise2")(y)
    y = batch_norm(name=f"{name}_pointwise2_bn")(y)
    if se:
        y = SqueezeExcite(_REDUCTION, name=f"{name}_squeeze_excite")(y)
    if residual and not enters:
        y = _layers.Add(name=f"{name}_add")([x, y])
    y = _layers.ReLU(name=f"{name}_relu")(y)
    y = _layers.Concatenate(name=f"{name}_join")([shortcut, y])
    return ChannelShuffle(2, name=f"{name}_shuffle")(y)


def _normalized(convolution: keras.layers.Layer, x: Any) -> Any:
    """Returns `x` after a convolution, BatchNormalization and ReLU."""
    x = batch_norm(name=f"{convolution.name}_bn")(convolution(x))
    return _layers.ReLU(name=f"{convolution.name}_relu")(x)


def _depthwise(x: Any, stride: int, name: str) -> Any:
    """Returns `x` after a 3x3 depthwise convolution and BatchNormalization."""
    x = _layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False, name=name)(x)
    return batch_norm(name=f"{name}_bn")(x)
