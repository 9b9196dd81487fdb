"""Counts a network by formula, without building it: in no time, and exactly as Keras's layers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from converters.planning.detectors import all_strides, body_arguments, neck_width, parts
from converters.planning.networks import arguments
from keras_shufflenet import shufflenet_v1, shufflenet_v2
from keras_shufflenet.detector import SIDES, STRIDES
from keras_shufflenet.units.v1 import bottleneck_channels

_UNITS = (4, 8, 4)
_KERNEL = 9
# Of the widest convolution of a detector's neck "fused".
_FUSED_KERNEL = 25


@dataclass(frozen=True)
class Counts:
    """What a network costs at least.

    Attributes:
      macs: multiply-adds for one image.
      parameters: as `keras_shufflenet.complexity` counts them.
      image_bytes: of an int8 image.
      map_bytes: of the maps that a stride-1 unit of Stage2 needs at once, int8: its input and what
        it computes first. Bands end before it, so TFLite Micro holds them as a whole.
    """

    macs: int
    parameters: int
    image_bytes: int
    map_bytes: int


class _Count:
    """Adds up layers, from the image on."""

    def __init__(self, size: int, channels: int):
        self.size, self.channels = size, channels
        self.macs = self.parameters = 0

    def downsample(self) -> None:
        # Both paddings round up.
        self.size = (self.size + 1) // 2

    def convolution(
        self, inputs: int, outputs: int, kernel: int = 1, groups: int = 1, size: int | None = None
    ) -> None:
        """A convolution without bias and its BatchNormalization's gamma and beta."""
        weights = kernel * inputs // groups * outputs
        self.macs += weights * (size or self.size) ** 2
        self.parameters += weights + 2 * outputs

    def depthwise(self, channels: int, kernel: int = _KERNEL, size: int | None = None) -> None:
        self.convolution(channels, channels, kernel, groups=channels, size=size)

    def separable(self, channels: int, outputs: int, size: int, kernel: int = _KERNEL) -> None:
        """A depthwise and a 1x1 convolution; `size`: of their outputs."""
        self.depthwise(channels, kernel, size)
        self.convolution(channels, outputs, size=size)

    def classifier(self, classes: int) -> None:
        self.macs += self.channels * classes
        self.parameters += (self.channels + 1) * classes


def count(name: str, size: int, channels: int, classes: int) -> Counts:
    """Returns what a network of the planner costs.

    Args:
      name: as in `converters.planning.networks.build`.
      size: height and width of its images, pixels.
      channels: number of channels of its images.
      classes: number of classes.

    Examples:
      >>> count("v2-0.5x", size=224, channels=3, classes=1000).macs
      40476448
    """
    counted, widths, map_bytes = _body(arguments(name), name.startswith("v2"), size, channels)
    if widths[2]:
        counted.convolution(counted.channels, widths[2])
        counted.channels = widths[2]
    counted.classifier(classes)
    return Counts(counted.macs, counted.parameters, size * size * channels, map_bytes)


def count_detector(
    name: str, size: int, channels: int, classes: int, strides: Sequence[int] | None
) -> Counts:
    """Returns what a detector of the planner costs.

    Args:
      name: as in `converters.planning.detectors.build`, like all others.

    Examples:
      >>> count_detector("v2-0.5x-pan", 320, 3, 3, None).macs
      91888000
    """
    given = body_arguments(name)
    counted, (_, stages, _), map_bytes = _body(given, name.startswith("v2"), size, channels)
    maps = dict(zip(STRIDES, stages, strict=True))
    neck, width, found = parts(name).neck, neck_width(name), all_strides(parts(name).neck, strides)
    if neck == "fused":
        _add_fused(counted, maps, width, size)
    else:
        _add_pyramid(counted, maps, width, size, found, up=neck == "pan")
    outputs = SIDES + classes
    for stride in found:
        counted.separable(width, width, size // stride)
        counted.macs += width * outputs * (size // stride) ** 2
    # The last convolution is shared, and has a bias.
    counted.parameters += (width + 1) * outputs
    return Counts(counted.macs, counted.parameters, size * size * channels, map_bytes)


def _add_pyramid(
    counted: _Count, maps: Mapping[int, int], width: int, size: int, found: Sequence[int], up: bool
) -> None:
    """Adds the neck "fpn" or, with the way up again, "pan"."""
    finest = STRIDES[0] if up else found[0]
    for stride in STRIDES:
        if stride >= finest:
            counted.convolution(maps[stride], width, size=size // stride)
    for stride in STRIDES[:-1]:
        if stride >= finest:
            counted.separable(width, width, size // stride)
    for stride in STRIDES[1:]:
        if up and stride <= found[-1]:
            counted.separable(width, width, size // stride)


def _add_fused(counted: _Count, maps: Mapping[int, int], width: int, size: int) -> None:
    fine, middle, coarse = STRIDES
    counted.separable(maps[fine], width, size // middle)
    counted.convolution(maps[middle], width, size=size // middle)
    counted.convolution(maps[coarse], width, size=size // coarse)
    counted.separable(width, width, size // middle, _FUSED_KERNEL)


def _body(
    given: dict, v2: bool, size: int, channels: int
) -> tuple[_Count, tuple[int, Sequence[int], int | None], int]:
    """Returns stem and stages, their widths, and `Counts.map_bytes`."""
    stem, stages, head = _widths(given, v2)
    counted = _Count(size, channels)
    _add_stem(counted, stem, bool(given.get("small_images")))
    groups = given.get("groups", 1)
    map_bytes = 0
    for stage, (units, width) in enumerate(zip(_UNITS, stages, strict=True)):
        for unit in range(units):
            if v2:
                _add_v2_unit(counted, width, first=unit == 0)
            else:
                compressed = 1 if stage == unit == 0 else groups
                _add_v1_unit(counted, width, groups, compressed, first=unit == 0)
        if stage == 0:
            # V2: both halves and the first convolution's; V1: the input and what is added to it.
            map_bytes = math.ceil(width * (1.5 if v2 else 2)) * counted.size**2
    return counted, (stem, stages, head), map_bytes


def _widths(given: dict, v2: bool) -> tuple[int, Sequence[int], int | None]:
    if "stage_channels" in given:
        return given["stem_channels"], given["stage_channels"], given.get("head_channels")
    if v2:
        return shufflenet_v2.VARIANTS[given["scale"]]
    stem, stages = shufflenet_v1.VARIANTS[given["scale"], given["groups"]]
    return stem, stages, None


def _add_stem(counted: _Count, stem: int, small_images: bool) -> None:
    if not small_images:
        counted.downsample()
    counted.convolution(counted.channels, stem, _KERNEL)
    if not small_images:
        counted.downsample()
    counted.channels = stem


def _add_v2_unit(counted: _Count, width: int, first: bool) -> None:
    """Adds a unit of V2 (its Figure 3c and 3d)."""
    half, before = width // 2, counted.size
    if first:
        counted.downsample()
        counted.depthwise(counted.channels)
        counted.convolution(counted.channels, half)
        counted.convolution(counted.channels, half, size=before)
    else:
        counted.convolution(half, half)
    counted.depthwise(half)
    counted.convolution(half, half)
    counted.channels = width


def _add_v1_unit(counted: _Count, width: int, groups: int, compressed: int, first: bool) -> None:
    """Adds a unit of V1 (its Figure 2b and 2c); `compressed`: groups of its first convolution."""
    bottleneck = bottleneck_channels(width, groups)
    counted.convolution(counted.channels, bottleneck, groups=compressed)
    if first:
        counted.downsample()
    counted.depthwise(bottleneck)
    expanded = width - counted.channels if first else width
    counted.convolution(bottleneck, expanded, groups=groups)
    counted.channels = width
