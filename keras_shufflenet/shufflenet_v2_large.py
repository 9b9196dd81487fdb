"""ShuffleNetV2.Large and ShuffleNetV2.ExLarge, which Megvii published as code alone.

https://github.com/megvii-model/ShuffleNet-Series
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from keras_shufflenet import network
from keras_shufflenet.checkpoints.weights_argument import Settings, find_weights
from keras_shufflenet.layers import BN_EPSILON, batch_norm, check_choice, pointwise
from keras_shufflenet.units.large import ResidualUnit, ShuffleUnitV2ExLarge, ShuffleUnitV2Large


class Variant(NamedTuple):
    """What a size has.

    Attributes:
      stem: output channels of the 3x3 convolutions before the max-pool; the first has stride 2.
      stages: output channels of each stage; the first has stride 1, the others 2.
      units: number of units of each stage.
      groups: groups of the units' 3x3 convolutions.
      unit: the class of the units.
      mixes: whether a 1x1 convolution ends each stage.
      head: output channels of the 3x3 convolution after the stages; None: there is none.
      epsilon: of BatchNormalization.
    """

    stem: tuple[int, int, int]
    stages: tuple[int, ...]
    units: tuple[int, ...]
    groups: int
    unit: type[ResidualUnit]
    mixes: bool
    head: int | None
    epsilon: float


VARIANTS = {
    "large": Variant(
        stem=(64, 64, 128),
        stages=(256, 512, 1024, 2048),
        units=(10, 10, 23, 10),
        groups=8,
        unit=ShuffleUnitV2Large,
        mixes=False,
        head=1280,
        epsilon=1e-9,
    ),
    "exlarge": Variant(
        stem=(64, 128, 256),
        stages=(320, 640, 1280, 2560),
        units=(8, 16, 36, 10),
        groups=16,
        unit=ShuffleUnitV2ExLarge,
        mixes=True,
        head=None,
        epsilon=BN_EPSILON,
    ),
}
SIZES = tuple(VARIANTS)


def ShuffleNetV2Large(
    size: str = "large",
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
    units_per_stage: Sequence[int] | None = None,
    stem_channels: Sequence[int] | None = None,
    stage_channels: Sequence[int] | None = None,
    head_channels: int | None = None,
    dropout_rate: float = 0.2,
) -> keras.Model:
    """Returns a ShuffleNetV2.Large or .ExLarge as a functional model: deep, residual, with SE.

    Multiply-adds and parameters (including gamma and beta, without moving statistics) at 224 pixels
    and 1000 classes, next to those that Megvii states, with its top-1 error on ImageNet. Megvii's
    training adds a classifier after each stage but the last; they are not in the network:

    | size    | multiply-adds  | stated | parameters  | stated  | error % |
    |---------|----------------|--------|-------------|---------|---------|
    | large   | 12,780,652,544 | 12.7 G | 125,120,936 | 140.7 M |   18.56 |
    | exlarge | 46,174,794,752 | 46.2 G | 255,374,504 | 254.7 M |   15.52 |

    With those classifiers Megvii's code has 140,685,664 and 271,283,296 parameters; no count of its
    "exlarge" gives the 254.7 million that are stated.

    The V2 paper's SE-ShuffleNet v2-164 (section 4 and appendix) is as deep as "large", but has
    depthwise convolutions where this one has grouped ones.

    Args:
      size: "large" or "exlarge"; it chooses what is not given below.
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
      preprocessing: the mode of `preprocess_input` that the network expects and that is saved in it
        (`preprocessing_of`): "tf", "torch", "unit" or "raw". None: that of `weights`, if known.
      small_images: for 32 to 64 pixels: the stem has stride 1 and no max-pool.
      units_per_stage: number of units of each stage.
      stem_channels: output channels of the stem's three convolutions; "large" needs an even last.
      stage_channels: output channels of each stage, multiples of twice the groups, which are 8 in
        "large" and 16 in "exlarge".
      head_channels: output channels of the convolution after the stages, for "large".
      dropout_rate: share of the classifier's inputs that training leaves out; 0: none.

    Returns:
      A keras.Model from (batch, height, width, channels), floating point, normalized by
      `preprocess_input`, to (batch, classes). Without a classifier, its output is the last map:
      (batch, height / 32, width / 32, channels), rounded up (/ 8 for small images), or, pooled,
      (batch, channels).

    Raises:
      ValueError: an argument is not as above; the message gives its name and value. A weights file
        is damaged or of another network, or was trained with another `padding`, `preprocessing` or
        `small_images`.
      FileNotFoundError: `weights` names a file that does not exist.
      ImportError: the file needs a package that is not installed.

    Examples:
      >>> model = keras_shufflenet.ShuffleNetV2Large("exlarge", units_per_stage=(1, 1, 2, 1))
    """
    network.check_arguments(pooling, classes)
    network.check_rate("dropout_rate", dropout_rate)
    check_choice("size", size, SIZES)
    found = find_weights(weights, f"shufflenet_v2_{size}")
    settings = found.settle(padding=padding, preprocessing=preprocessing)
    found.check(small_images=small_images)
    variant = _variant(size, units_per_stage, stem_channels, stage_channels, head_channels)
    inputs = network.network_input(input_tensor, input_shape, small_images)

    x = _stem(inputs, variant, settings, small_images)
    x = _stages(x, variant, settings)
    if variant.head is not None:
        convolution = keras.layers.Conv2D(
            variant.head, 3, padding="same", use_bias=False, name="head_conv"
        )
        x = _normalized(x, convolution, variant.epsilon)
    outputs = network.top(
        x, include_top, pooling, classes, classifier_activation, dropout_rate=dropout_rate
    )
    name = name or f"shufflenet_v2_{size}"
    return network.make_model(inputs, outputs, name, found, include_top)


def _variant(
    size: str,
    units_per_stage: Sequence[int] | None,
    stem_channels: Sequence[int] | None,
    stage_channels: Sequence[int] | None,
    head_channels: int | None,
) -> Variant:
    """Returns what is given, and what the table has at `size` for the rest."""
    network.check_widths(head_channels=head_channels)
    variant = VARIANTS[size]
    if head_channels is not None:
        if variant.head is None:
            raise ValueError(
                "`head_channels` is for size='large': the other has no head. "
                f"Received: head_channels={head_channels}, size={size!r}"
            )
        variant = variant._replace(head=head_channels)
    given = {
        "units_per_stage": ("units", units_per_stage),
        "stem_channels": ("stem", stem_channels),
        "stage_channels": ("stages", stage_channels),
    }
    for argument, (field, value) in given.items():
        if value is not None:
            network.check_stages(argument, value)
            variant = variant._replace(**{field: tuple(value)})
    network.check_same_length(variant.units, variant.stages)
    if len(variant.stem) != 3:
        raise ValueError(
            "`stem_channels` must have one integer for each of the stem's three convolutions. "
            f"Received: stem_channels={stem_channels!r}"
        )
    return variant


def _normalized(x: Any, convolution: keras.layers.Layer, epsilon: float) -> Any:
    """Returns `x` after a convolution, BatchNormalization and ReLU."""
    part = convolution.name.removesuffix("_conv")
    x = batch_norm(name=f"{part}_bn", epsilon=epsilon)(convolution(x))
    return keras.layers.ReLU(name=f"{part}_relu")(x)


def _stem(x: Any, variant: Variant, settings: Settings, small_images: bool) -> Any:
    first, *others = variant.stem
    x = network.stem_convolution(x, first, settings, small_images, variant.epsilon)
    x = keras.layers.ReLU(name="stem_relu")(x)
    for number, filters in enumerate(others, 2):
        convolution = keras.layers.Conv2D(
            filters, 3, padding="same", use_bias=False, name=f"stem{number}_conv"
        )
        x = _normalized(x, convolution, variant.epsilon)
    return x if small_images else network.stem_pool(x, settings.padding)


def _stages(x: Any, variant: Variant, settings: Settings) -> Any:
    """Returns `x` after all stages."""
    for stage, (units, filters) in enumerate(zip(variant.units, variant.stages, strict=True), 2):
        for unit in range(1, units + 1):
            x = variant.unit(
                filters,
                variant.groups,
                # The first stage keeps the size of the stem's pool.
                2 if unit == 1 and stage > 2 else 1,
                settings.padding,
                unit == 1,
                variant.epsilon,
                name=f"stage{stage}_unit{unit}",
            )(x)
        if variant.mixes:
            mix = pointwise(filters, name=f"stage{stage}_mix_conv")
            x = _normalized(x, mix, variant.epsilon)
    return x
