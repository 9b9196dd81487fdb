"""ShuffleNetV2+, which Megvii published as code alone.

https://github.com/megvii-model/ShuffleNet-Series, ShuffleNetV2+
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from keras_shufflenet import network
from keras_shufflenet.checkpoints.weights_argument import Settings, find_weights
from keras_shufflenet.layers import HardSqueezeExcite, batch_norm, check_choice, pointwise
from keras_shufflenet.units.v2_plus import BLOCKS, SE_REDUCTION, ShuffleUnitV2Plus


class Variant(NamedTuple):
    """Output channels of the stem, of the stages and of the head."""

    stem: int
    stages: tuple[int, ...]
    head: int


VARIANTS = {
    "small": Variant(16, (36, 104, 208, 416), 1280),
    "medium": Variant(16, (48, 128, 256, 512), 1280),
    "large": Variant(16, (68, 168, 336, 672), 1280),
}
SIZES = tuple(VARIANTS)

# The main path of each stage's units, which Megvii found by a search.
STAGE_BLOCKS = (
    ("3x3", "3x3", "xception", "5x5"),
    ("5x5", "5x5", "3x3", "3x3"),
    ("7x7", "3x3", "7x7", "5x5", "5x5", "3x3", "7x7", "3x3"),
    ("7x7", "5x5", "xception", "7x7"),
)
# The activation of each stage's units, and whether they have Squeeze-and-Excitation.
_STAGES = {2: ("relu", False), 3: ("hard_swish", False)}
_LATER_STAGES = ("hard_swish", True)


def ShuffleNetV2Plus(
    size: str = "small",
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
    preprocessing: str | None = None,
    small_images: bool = False,
    blocks: Sequence[Sequence[str]] = STAGE_BLOCKS,
    stage_channels: Sequence[int] | None = None,
    head_channels: int | None = None,
    dropout_rate: float = 0.2,
) -> keras.Model:
    """Returns a ShuffleNetV2+ as a functional model: V2 with hard-swish and Squeeze-and-Excitation.

    Multiply-adds and parameters (including gamma and beta, without moving statistics) at 224 pixels
    and 1000 classes, both equal to those of Megvii's code; beside them are those that it states (it
    does not round parameters, but cuts them off) and its top-1 error on ImageNet:

    | size   | multiply-adds | stated | parameters | stated | error % |
    |--------|---------------|--------|------------|--------|---------|
    | small  |   155,845,008 |  156 M |  5,137,116 |  5.1 M |    25.9 |
    | medium |   222,249,984 |  222 M |  5,679,840 |  5.6 M |    24.3 |
    | large  |   360,050,704 |  360 M |  6,768,220 |  6.7 M |    22.9 |

    Args:
      size: "small", "medium" or "large"; it chooses the widths that are not given below.
      include_top: whether to include the classifier (global pool, SE and two dense layers).
      weights: None (random) or the path of a file: `.weights.h5` or `.keras` of the same network,
        or a checkpoint of Megvii's code, `.pth`, `.safetensors` or `.npz` (docs/checkpoints.md).
      input_tensor: a Keras tensor to use as the input, instead of a new one.
      input_shape: (height, width, channels); height and width are at least 32, or None if they are
        unknown. (224, 224, 3) by default, (32, 32, 3) for small images.
      pooling: without a classifier, None (a feature map), "avg" or "max".
      classes: number of classes of the classifier; if the weights have another number, only the
        classifier's last layer stays random.
      classifier_activation: activation of the classifier; None gives logits.
      name: the model's name.
      padding: "same" (TensorFlow's: no padding operators) or "symmetric" (PyTorch's: for weights
        trained there). None: as `weights` were trained, else "same".
      preprocessing: the mode of `preprocess_input` that the network expects and that is saved in it
        (`preprocessing_of`): "tf", "torch", "unit" or "raw". None: that of `weights`, if known.
      small_images: for 32 to 64 pixels: the stem has stride 1.
      blocks: the main path of each stage's units, in order: "3x3", "5x5", "7x7" or "xception".
      stage_channels: output channels of each stage, even and growing.
      head_channels: output channels of the last 1x1 convolution and of the first dense layer.
      dropout_rate: share of the classifier's inputs that training leaves out; 0: none.

    Returns:
      A keras.Model from (batch, height, width, channels), floating point, normalized by
      `preprocess_input`, to (batch, classes). Without a classifier, its output has the head's
      channels: (batch, height / 32, width / 32, channels), rounded up (/ 16 for small images), or,
      pooled, (batch, channels).

    Raises:
      ValueError: an argument is not as above; the message gives its name and value. A weights file
        is damaged or of another network, or was trained with another `padding`, `preprocessing` or
        `small_images`.
      FileNotFoundError: `weights` names a file that does not exist.
      ImportError: the file needs a package that is not installed.

    Examples:
      >>> model = keras_shufflenet.ShuffleNetV2Plus("small", classes=10)
    """
    network.check_arguments(pooling, classes)
    network.check_rate("dropout_rate", dropout_rate)
    found = find_weights(weights, "shufflenet_v2_plus")
    settings = found.settle(padding=padding, preprocessing=preprocessing)
    found.check(small_images=small_images)
    network.check_widths(head_channels=head_channels)
    variant = _variant(size, stage_channels, head_channels)
    _check_blocks(blocks, variant.stages)
    inputs = network.network_input(input_tensor, input_shape, small_images)

    x = network.stem_convolution(inputs, variant.stem, settings, small_images)
    x = keras.layers.Activation("hard_swish", name="stem_activation")(x)
    units = tuple(map(len, blocks))
    x = network.stages(x, units, variant.stages, _unit_maker(blocks, settings))
    x = pointwise(variant.head, name="head_conv")(x)
    x = batch_norm(name="head_bn")(x)
    x = keras.layers.Activation("hard_swish", name="head_activation")(x)
    if include_top:
        outputs = _classifier(x, classes, classifier_activation, dropout_rate)
    else:
        outputs = network.top(x, False, pooling, classes, classifier_activation)
    name = name or "shufflenet_v2_plus"
    return network.make_model(inputs, outputs, name, found, include_top)


def _variant(size: str, stage_channels: Sequence[int] | None, head: int | None) -> Variant:
    """Returns the widths: those given, and the table's at `size` for the others."""
    check_choice("size", size, SIZES)
    variant = VARIANTS[size]
    if stage_channels is not None:
        network.check_stages("stage_channels", stage_channels)
        network.check_even(stage_channels)
        variant = variant._replace(stages=tuple(stage_channels))
    return variant if head is None else variant._replace(head=head)


def _check_blocks(blocks: Any, stage_channels: Sequence[int]) -> None:
    if not isinstance(blocks, list | tuple) or not all(
        isinstance(stage, list | tuple) and stage for stage in blocks
    ):
        raise ValueError(
            "`blocks` must be a list or tuple with a list or tuple of names for each stage. "
            f"Received: blocks={blocks!r}"
        )
    for index, stage in enumerate(blocks):
        for block in stage:
            check_choice(f"blocks[{index}]", block, BLOCKS)
    if len(blocks) != len(stage_channels):
        raise ValueError(
            "`blocks` and `stage_channels` must have one entry for each stage. "
            f"Received: blocks={blocks!r}, stage_channels={stage_channels!r}"
        )


def _unit_maker(
    blocks: Sequence[Sequence[str]], settings: Settings
) -> Callable[..., ShuffleUnitV2Plus]:
    def make_unit(filters: int, stride: int, name: str) -> ShuffleUnitV2Plus:
        stage, unit = map(int, name.removeprefix("stage").split("_unit"))
        activation, se = _STAGES.get(stage, _LATER_STAGES)
        block = blocks[stage - 2][unit - 1]
        return ShuffleUnitV2Plus(
            filters, stride, settings.padding, block, activation, se, name=name
        )

    return make_unit


def _classifier(x: Any, classes: int, activation: Any, dropout_rate: float) -> Any:
    """Returns `x` after the pool and two dense layers, of which neither has a bias.

    The first is a 1x1 convolution on a 1x1 map, so that nothing is reshaped before the gate.
    """
    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool")(x)
    x = HardSqueezeExcite(SE_REDUCTION, name="head_squeeze_excite")(x)
    x = pointwise(x.shape[-1], name="head_dense")(x)
    x = keras.layers.Activation("hard_swish", name="head_dense_activation")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    if dropout_rate:
        x = keras.layers.Dropout(dropout_rate, name="dropout")(x)
    return keras.layers.Dense(classes, activation, use_bias=False, name="predictions")(x)
