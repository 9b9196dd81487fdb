"""The networks of V1's Table 4: five kinds of units in one network, with equal multiply-adds.

The network is that of V1's Table 1: a stem of stride 4, three stages of 4, 8 and 4 units whose
widths double, and a classifier. The widths are solved for a number of multiply-adds.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import ops

from common.cli import UserError
from keras_shufflenet import ShuffleNetV1, network
from keras_shufflenet.checkpoints.weights_argument import Settings
from keras_shufflenet.layers import batch_norm, ungrouped_kernel
from keras_shufflenet.units.v1 import bottleneck_channels

# Millions of multiply-adds, as in V1's Table 4: those of 1x, 0.5x and 0.25x.
COMPLEXITIES = (140, 38, 13)
TOLERANCE = 0.01
UNITS = (4, 8, 4)
# The widths are solved for 224 pixels and 1000 classes, whatever is trained with them.
_SIZE, _CLASSES = 224, 1000
_CARDINALITY = 16
# Channels of the stem, as in V1: from this many million multiply-adds on, and below.
_WIDE_FROM, _WIDE_STEM, _NARROW_STEM = 100, 24, 12
# How far Stage3's and Stage4's widths may be from twice and four times Stage2's, in width steps.
_AROUND = (2, 4)


class Convolution(NamedTuple):
    """A convolution followed by BatchNormalization."""

    filters: int
    kernel: int
    stride: int = 1
    groups: int = 1
    relu: bool = True


class Widths(NamedTuple):
    """Output channels of the stem and of the stages."""

    stem: int
    stages: tuple[int, ...]


@dataclass(frozen=True)
class Structure:
    """A kind of unit.

    Attributes:
      main_path: returns a unit's convolutions for (channels, filters, stride, first); `first` says
        whether the unit is the network's first.
      shortcut: whether the input is added; at stride 2 after a 1x1 convolution.
      groups: of ShuffleNet's units, which `ShuffleNetV1` builds; None for other structures.
    """

    main_path: Callable[[int, int, int, bool], list[Convolution]]
    shortcut: bool = False
    groups: int | None = None

    @property
    def step(self) -> int:
        """The number that widths are multiples of."""
        return self.groups or 1


def _vgg(channels: int, filters: int, stride: int, first: bool) -> list[Convolution]:
    return [Convolution(filters, 3, stride), Convolution(filters, 3)]


def _resnet(channels: int, filters: int, stride: int, first: bool) -> list[Convolution]:
    return _bottleneck(max(1, round(filters / 4)), filters, stride, 1)


def _resnext(channels: int, filters: int, stride: int, first: bool) -> list[Convolution]:
    # Half of the output, to the nearest multiple of the groups.
    bottleneck = max(1, (filters + _CARDINALITY) // (2 * _CARDINALITY)) * _CARDINALITY
    return _bottleneck(bottleneck, filters, stride, _CARDINALITY)


def _bottleneck(bottleneck: int, filters: int, stride: int, groups: int) -> list[Convolution]:
    return [
        Convolution(bottleneck, 1),
        # ResNet's paper has the stride in the first 1x1; ResNeXt's code, which V1 follows, has it
        # here.
        Convolution(bottleneck, 3, stride, groups),
        Convolution(filters, 1, relu=False),
    ]


def _shuffle(
    groups: int, channels: int, filters: int, stride: int, first: bool
) -> list[Convolution]:
    bottleneck = bottleneck_channels(filters, groups)
    return [
        Convolution(bottleneck, 1, groups=1 if first else groups),
        Convolution(bottleneck, 3, stride, bottleneck, relu=False),
        Convolution(filters - (channels if stride == 2 else 0), 1, groups=groups, relu=False),
    ]


def _shufflenet(groups: int) -> Structure:
    return Structure(functools.partial(_shuffle, groups), groups=groups)


STRUCTURES = {
    "VGG-like": Structure(_vgg),
    "ResNet": Structure(_resnet, shortcut=True),
    "Xception-like": _shufflenet(1),
    "ResNeXt": Structure(_resnext, shortcut=True),
    "ShuffleNet g=4": _shufflenet(4),
    "ShuffleNet g=8": _shufflenet(8),
}


def count(name: str, widths: Widths) -> int:
    """Returns the multiply-adds at 224 pixels and 1000 classes, without building the network."""
    macs = (_SIZE // 2) ** 2 * 9 * 3 * widths.stem + widths.stages[-1] * _CLASSES
    channels, size = widths.stem, _SIZE // 4
    for index, (filters, units) in enumerate(zip(widths.stages, UNITS, strict=True)):
        for unit in range(units):
            stride = 2 if unit == 0 else 1
            macs += _unit_macs(name, channels, filters, stride, size, index == unit == 0)
            channels, size = filters, size // stride
    return macs


def _unit_macs(name: str, channels: int, filters: int, stride: int, size: int, first: bool) -> int:
    structure, macs, before = STRUCTURES[name], 0, channels
    if structure.shortcut and stride == 2:
        macs += (size // 2) ** 2 * channels * filters
    for convolution in structure.main_path(channels, filters, stride, first):
        size //= convolution.stride
        inputs = before // convolution.groups
        macs += size**2 * convolution.kernel**2 * inputs * convolution.filters
        before = convolution.filters
    return macs


@functools.cache
def solve(name: str, millions: float) -> Widths:
    """Returns the widths with which a structure has a number of multiply-adds.

    Widths double from stage to stage as nearly as the tolerance allows; among equals, the closest
    number of multiply-adds wins.

    Args:
      name: a key of `STRUCTURES`.
      millions: multiply-adds at 224 pixels and 1000 classes, in millions.

    Raises:
      UserError: no widths give multiply-adds within 1% of that number.

    Examples:
      >>> solve("VGG-like", 38).stages[-1]
      50
    """
    target = millions * 1e6
    least = count(name, next(_doubling(name, millions)))
    found = [
        (_distance(widths), abs(count(name, widths) - target), widths)
        for widths in _candidates(name, millions)
        if abs(count(name, widths) - target) <= TOLERANCE * target
    ]
    if not found:
        raise UserError(
            f"{name} cannot have {millions:g} million multiply-adds to within {TOLERANCE:.0%}: its "
            f"narrowest network has {least / 1e6:.2f} million, and widths are whole numbers; name "
            "another complexity"
        )
    return min(found)[-1]


def _doubling(name: str, millions: float) -> Iterator[Widths]:
    """Yields widths that double from stage to stage, narrowest first."""
    step = STRUCTURES[name].step
    stem = _WIDE_STEM if millions >= _WIDE_FROM else _NARROW_STEM
    # ShuffleNet's first unit concatenates its input: the other channels must be a multiple of the
    # groups.
    stem = stem // step * step
    # A ShuffleNet unit that concatenates has more channels than its input.
    narrowest = stem // step + 1 if STRUCTURES[name].groups else 1
    for width in range(narrowest, narrowest + 10_000):
        yield Widths(stem, (width * step, 2 * width * step, 4 * width * step))


def _candidates(name: str, millions: float) -> Iterator[Widths]:
    """Yields growing widths near doubling ones that have about this many multiply-adds."""
    step = STRUCTURES[name].step
    for stem, (first, second, third) in _doubling(name, millions):
        macs = count(name, Widths(stem, (first, second, third))) / 1e6
        if macs > 1.3 * millions:
            return
        if macs < 0.7 * millions:
            continue
        for two, three in itertools.product(*(range(-around, around + 1) for around in _AROUND)):
            stages = (first, second + two * step, third + three * step)
            if stages[0] < stages[1] < stages[2]:
                yield Widths(stem, stages)


def _distance(widths: Widths) -> float:
    first, second, third = widths.stages
    return abs(second / (2 * first) - 1) + abs(third / (2 * second) - 1)


def build(
    name: str,
    widths: Widths,
    input_shape: Sequence[int] | None = None,
    classes: int = _CLASSES,
    small_images: bool = False,
) -> keras.Model:
    """Returns the network with random weights; its outputs are logits.

    Args:
      name: a key of `STRUCTURES`.
      widths: for example those that `solve` returns.
      input_shape: (height, width, channels); defaults as in `ShuffleNetV1`.
      classes: number of classes.
      small_images: the stem has stride 1 and no max-pool.

    Examples:
      >>> model = build("ResNet", solve("ResNet", 38))
    """
    structure = STRUCTURES[name]
    if structure.groups:
        return ShuffleNetV1(
            groups=structure.groups,
            stem_channels=widths.stem,
            stage_channels=widths.stages,
            input_shape=input_shape,
            classes=classes,
            classifier_activation=None,
            small_images=small_images,
        )
    image = network.network_input(None, input_shape, small_images)
    x = network.stem(image, widths.stem, Settings("same", "paper", None), small_images)
    x = network.stages(
        x, UNITS, widths.stages, lambda **unit: functools.partial(_unit, structure, **unit)
    )
    x = network.top(x, True, None, classes, None)
    return keras.Model(image, x, name=name.lower().replace("-", "_"))


def _unit(structure: Structure, inputs: Any, *, filters: int, stride: int, name: str) -> Any:
    """Returns `inputs` after a unit of one of the structures made only of Keras's layers."""
    x, channels = inputs, inputs.shape[-1]
    for number, convolution in enumerate(
        structure.main_path(channels, filters, stride, name == "stage2_unit1"), 1
    ):
        x = _convolve(x, convolution, f"{name}_conv{number}")
    if not structure.shortcut:
        return x
    if stride == 2:
        projection = Convolution(filters, 1, stride, relu=False)
        inputs = _convolve(inputs, projection, f"{name}_shortcut")
    x = keras.layers.Add(name=f"{name}_join")([inputs, x])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _convolve(x: Any, convolution: Convolution, name: str) -> Any:
    layer = keras.layers.Conv2D if convolution.groups == 1 else GroupedConv2D
    x = layer(
        convolution.filters,
        convolution.kernel,
        convolution.stride,
        padding="same",
        groups=convolution.groups,
        use_bias=False,
        name=name,
    )(x)
    x = batch_norm(name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if convolution.relu else x


@keras.saving.register_keras_serializable(package="experiments")
class GroupedConv2D(keras.layers.Conv2D):
    """A grouped convolution without bias or activation that trains fast on CPUs.

    Like `keras_shufflenet.layers.GroupedPointwise`, for any kernel: in training it is a dense
    convolution with a block-diagonal kernel, because on CPUs TensorFlow compiles the gradients of
    grouped convolutions with XLA.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the convolution."""
        if not training:
            return super().call(inputs)
        kernel = ops.cast(ungrouped_kernel(self.kernel, self.groups), self.compute_dtype)
        return ops.conv(inputs, kernel, self.strides, self.padding)
