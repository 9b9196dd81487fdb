"""MobileNetV2 for comparison: keras.applications' network with ShuffleNet V2's multiply-adds.

Figure 1 of ShuffleNet V2's paper compares networks of equal complexity in the same way.
"""

from typing import Any, NamedTuple

import keras

from keras_shufflenet.layers import BN_MOMENTUM


class Variant(NamedTuple):
    """The width of the network and the number of channels of its last 1x1 convolution."""

    alpha: float
    head: int


# By ShuffleNet V2's scale and small_images: within 0.1% of its multiply-adds with 1000 classes at
# 224 pixels, and with 10 at 32. keras.applications rounds widths to multiples of 8, so alpha alone
# would leave a difference of a tenth; the head, 1280 in the paper, makes up for it.
VARIANTS = {
    (0.5, False): Variant(0.27, 1784),
    (1.0, False): Variant(0.57, 1024),
    (1.5, False): Variant(0.97, 1312),
    (2.0, False): Variant(1.43, 1496),
    (0.5, True): Variant(0.28, 1576),
    (1.0, True): Variant(0.68, 1216),
    (1.5, True): Variant(1.05, 1400),
    (2.0, True): Variant(1.49, 2064),
}
SCALES = tuple(sorted({scale for scale, _ in VARIANTS}))

# The layers in which keras.applications halves the size for the first and second of five times. For
# small images ShuffleNet omits the same two.
_FIRST_HALVINGS = ("Conv1", "block_1_depthwise")
_HEAD = "Conv_1"


def mobilenet_v2(
    scale: float, input_shape: tuple[int, int, int], classes: int, small_images: bool
) -> keras.Model:
    """Returns a MobileNetV2 with random weights and as many multiply-adds as ShuffleNetV2.

    The layers are those of keras.applications (Sandler et al., 2018) with three changes. The head
    has another width. The explicit padding before stride 2 is replaced by padding "same", which is
    equal at even sizes and needs one operator less. BatchNormalization has the momentum of the
    networks here, because 0.999 would need thousands of steps.

    Args:
      scale: the scale of the ShuffleNetV2 with as many multiply-adds, one of `SCALES`.
      input_shape: (height, width, channels), at least 32 pixels.
      classes: number of classes.
      small_images: omit the first two halvings of the size, as in ShuffleNetV2.

    Returns:
      A functional model from pixels in [-1, 1], (batch, height, width, channels), to logits
      (batch, classes).

    Raises:
      ValueError: there is no such scale.

    Examples:
      >>> model = mobilenet_v2(0.5, (32, 32, 3), classes=10, small_images=True)
    """
    if scale not in SCALES:
        raise ValueError(f"`scale` must be one of {SCALES}. Received: scale={scale!r}")
    features = convolutions(VARIANTS[scale, small_images], input_shape, small_images)
    x = keras.layers.GlobalAveragePooling2D(name="global_pool")(features.output)
    x = keras.layers.Dense(classes, name="predictions")(x)
    return keras.Model(features.input, x, name="mobilenet_v2")


def convolutions(
    variant: Variant, input_shape: tuple[int, int, int], small_images: bool = False
) -> keras.Model:
    """Returns the network of `mobilenet_v2` without its classifier, of any width.

    Its blocks are called as in keras.applications: `block_5_add`, `block_12_add` and
    `block_16_project_BN` are the last of strides 8, 16 and 32 (4 times less for small images).
    """
    original = keras.applications.MobileNetV2(
        input_shape=input_shape, alpha=variant.alpha, include_top=False, weights=None
    )

    def changed(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = {**layer.get_config(), **_changes(layer, variant.head, small_images)}
        if isinstance(layer, keras.layers.ZeroPadding2D):
            return keras.layers.Identity(name=layer.name)
        return type(layer).from_config(config)

    return keras.models.clone_model(original, clone_function=changed)


def _changes(layer: keras.layers.Layer, head: int, small_images: bool) -> dict[str, Any]:
    """Returns the values of the layer's configuration that differ from keras.applications."""
    changes: dict[str, Any] = {}
    if isinstance(layer, keras.layers.BatchNormalization):
        changes["momentum"] = BN_MOMENTUM
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        changes["padding"] = "same"
    if layer.name == _HEAD:
        changes["filters"] = head
    if small_images and layer.name in _FIRST_HALVINGS:
        changes["strides"] = (1, 1)
    return changes
