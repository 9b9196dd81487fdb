"""Detectors with backbones of equal multiply-adds under one neck and head (V2's Table 7).

The backbones have as many multiply-adds as that of ShuffleNetV2 0.5x, to within 1%: without the
last 1x1 convolution and the classifier, which detectors do not have. The paper's networks are equal
with both. Its Xception is a light one of the authors (Light-Head R-CNN); here it is V1's
Xception-like network, which is ShuffleNet V1 with one group.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras

from keras_shufflenet import ShuffleNetV1, ShuffleNetV2, features
from keras_shufflenet.detector import WIDTHS, detector_on_maps
from trainers.networks import mobilenet

TOLERANCE = 0.01
_SCALE = 0.5
# The last layers of MobileNetV2's strides 8, 16 and 32.
_MOBILENET_MAPS = ("block_5_add", "block_12_add", "block_16_project_BN")
# A width that rounds to the multiply-adds; the head, the paper's, is not part of the backbone.
_MOBILENET = mobilenet.Variant(alpha=0.215, head=1280)


@dataclass(frozen=True)
class Backbone:
    """A backbone of the comparison.

    Attributes:
      maps: called with `input_shape`, returns a model whose outputs are the maps of strides 8, 16
        and 32.
      coco: the paper's mAP on COCO at 40 million multiply-adds, percent (V2 Table 7).
    """

    maps: Callable[..., keras.Model]
    coco: float


def _shufflenet(make: Callable[..., keras.Model], input_shape: Sequence[int]) -> keras.Model:
    found = features(make(input_shape=tuple(input_shape), include_top=False))
    return keras.Model(found.inputs[0], found.outputs[1:], name=found.name)


def _mobilenet(input_shape: Sequence[int]) -> keras.Model:
    body = mobilenet.convolutions(_MOBILENET, tuple(input_shape))
    maps = [body.get_layer(name).output for name in _MOBILENET_MAPS]
    return keras.Model(body.inputs[0], maps, name="mobilenet_v2_features")


def _backbone(coco: float, make: Callable[..., keras.Model], **arguments: object) -> Backbone:
    made = functools.partial(make, **arguments)
    return Backbone(functools.partial(_shufflenet, made), coco)


# Widths of V1, of the Xception-like network and of V2* that give V2's multiply-adds, as nearly
# doubling from stage to stage as that allows.
BACKBONES = {
    "xception-like": _backbone(
        21.9, ShuffleNetV1, groups=1, stem_channels=12, stage_channels=(62, 124, 248)
    ),
    "v1-g3": _backbone(
        20.9, ShuffleNetV1, groups=3, stem_channels=12, stage_channels=(105, 210, 408)
    ),
    "mobilenet-v2": Backbone(_mobilenet, 20.7),
    "v2": _backbone(22.5, ShuffleNetV2, scale=_SCALE),
    "v2-star": _backbone(
        23.7,
        ShuffleNetV2,
        scale=_SCALE,
        stage_channels=(46, 90, 180),
        first_depthwise=True,
    ),
}


def build(name: str, input_shape: Sequence[int], classes: int) -> keras.Model:
    """Returns a detector with random weights, with the PAN neck and the head of V2 0.5x's.

    Args:
      name: a key of `BACKBONES`.
      input_shape: (height, width, channels), both sizes multiples of 32.
      classes: number of classes.

    Examples:
      >>> build("mobilenet-v2", (192, 192, 3), classes=3).output_shape
      (None, 756, 7)
    """
    maps = BACKBONES[name].maps(input_shape=input_shape)
    return detector_on_maps(
        maps.inputs[0], maps.outputs, classes, WIDTHS[_SCALE], name=name.replace("-", "_")
    )
