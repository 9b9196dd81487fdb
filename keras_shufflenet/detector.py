"""A one-stage object detector on ShuffleNet V1 or V2.

The V2 paper evaluates on detection, too (section 4, Table 7), with Light-Head R-CNN. Its two stages
do not become one int8 file for a small device; this detector is anchor-free and one graph: a neck
that mixes the backbone's three maps, and a head that predicts at every point of them. Decoding the
boxes and suppressing duplicates is left to whoever reads the output (`common.detection`): inside a
quantized graph it would cost accuracy.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_shufflenet.checkpoints.weights_argument import KERAS_SUFFIXES, load_keras_weights
from keras_shufflenet.features import features
from keras_shufflenet.layers import batch_norm, check_choice, check_positive_int, pointwise
from keras_shufflenet.network import check_widths
from keras_shufflenet.shufflenet_v2 import ShuffleNetV2

# Of the backbone's maps, in pixels.
STRIDES = (8, 16, 32)
DEFAULT_SIZE = 320
# Each box has distances to its left, top, right and bottom side, before the classes.
SIDES = 4
# The neck's width, by scale.
WIDTHS = {0.25: 48, 0.5: 64, 1.0: 96, 1.5: 128, 2.0: 160}
# Nearly all points are background: without it, the first steps only learn that.
_CLASS_BIAS = -4.0
_PREDICTION_DEVIATION = 0.01
_FUSED_STRIDE, _FUSED_KERNEL = 16, 5
_POINTS = re.compile(r"points(\d+)")

Maps = Mapping[int, Any]


def ShuffleNetDetector(
    scale: float = 0.5,
    classes: int = 3,
    input_shape: Sequence[int] | None = None,
    neck: str = "pan",
    width: int | None = None,
    strides: Sequence[int] | None = None,
    weights: str | os.PathLike | None = None,
    backbone: keras.Model | None = None,
    name: str = "shufflenet_detector",
) -> keras.Model:
    """Returns an anchor-free detector as a functional model.

    A point is the centre of a cell of `stride` pixels. Its box reaches `2 * stride * exp(raw)`
    pixels to the left, top, right and bottom of it; its classes are logits, each for itself. The
    points are in the order of `strides`, then row by row.

    Args:
      scale: of the ShuffleNetV2 inside; with `backbone`, it only chooses the neck's width.
      classes: number of classes, without one for the background.
      input_shape: (height, width, channels), both sizes multiples of 32. (320, 320, 3) by default,
        or that of `backbone`.
      neck: "pan" (top-down and bottom-up: Liu et al., 2018), "fpn" (top-down alone: Lin et al.,
        2017) or "fused" (all maps added up at stride 16: the fastest).
      width: channels of neck and head; None: 64 at 0.5x, 96 at 1x, 128 at 1.5x, 160 at 2x.
      strides: where boxes are predicted, of 8, 16 and 32. All by default; (16,) for "fused". For
        images of 96 to 192 pixels, (8, 16) saves what predicts nothing.
      weights: None (random), or a `.weights.h5` or `.keras` file of the same detector.
      backbone: a ShuffleNet of this package, with or without its top, to use instead of a new one;
        its layers, and so its weights, are shared. Its padding, convention and preprocessing stay.
      name: the model's name.

    Returns:
      A keras.Model from (batch, height, width, channels), floating point, normalized by
      `preprocess_input`, to (batch, points, 4 + classes).

    Raises:
      ValueError: an argument is not as above; the message gives its name and value. A weights file
        is damaged or of another network.
      FileNotFoundError: `weights` names a file that does not exist.

    Examples:
      >>> detector = keras_shufflenet.ShuffleNetDetector(scale=0.5, classes=3)
      >>> detector.output_shape
      (None, 2100, 7)
    """
    check_choice("neck", neck, tuple(_NECKS))
    check_positive_int("classes", classes)
    check_widths(width=width)
    strides = _checked_strides(strides, neck)
    _check_weights(weights)
    if width is None:
        check_choice("scale", scale, tuple(WIDTHS))
        width = WIDTHS[scale]
    if backbone is None:
        backbone = _new_backbone(scale, input_shape)
    maps = features(backbone).outputs[1:]
    image = backbone.inputs[0]
    _check_size(image, input_shape)
    model = detector_on_maps(image, maps, classes, width, neck, strides, name)
    if weights is not None:
        load_keras_weights(model, str(weights), include_top=True)
    return model


def detector_on_maps(
    image: Any,
    maps: Sequence[Any],
    classes: int,
    width: int,
    neck: str = "pan",
    strides: Sequence[int] | None = None,
    name: str = "detector",
) -> keras.Model:
    """Returns `ShuffleNetDetector`'s neck and head on the feature maps of any backbone.

    Args:
      image: the backbone's input, a Keras tensor (batch, height, width, channels) whose height and
        width are multiples of 32.
      maps: Keras tensors made from it, (batch, height / stride, width / stride, any), of the
        strides 8, 16 and 32.
      classes, width, neck, strides, name: as in `ShuffleNetDetector`, but `width` is needed.

    Returns:
      A keras.Model from `image` to (batch, points, 4 + classes).

    Raises:
      ValueError: an argument is not as above; the message gives its name and value.

    Examples:
      >>> image = keras.Input((96, 96, 3))
      >>> body = keras.applications.MobileNetV2(
      ...     input_tensor=image, include_top=False, weights=None
      ... )
      >>> names = ("block_5_add", "block_12_add", "block_16_project_BN")
      >>> maps = [body.get_layer(name).output for name in names]
      >>> detector_on_maps(image, maps, classes=3, width=64).output_shape
      (None, 189, 7)
    """
    check_choice("neck", neck, tuple(_NECKS))
    check_positive_int("classes", classes)
    check_positive_int("width", width)
    strides = _checked_strides(strides, neck)
    _check_size(image)
    levels = _NECKS[neck](_by_stride(image, maps), width, strides)
    return keras.Model(image, _head(levels, width, classes), name=name)


def detector_strides(model: keras.Model) -> tuple[int, ...]:
    """Returns the strides of a detector's points, in the order of its output.

    Raises:
      ValueError: `model` is not a detector of this package.

    Examples:
      >>> keras_shufflenet.detector_strides(keras_shufflenet.ShuffleNetDetector())
      (8, 16, 32)
    """
    found = (_POINTS.fullmatch(layer.name) for layer in getattr(model, "layers", ()))
    strides = tuple(sorted(int(match[1]) for match in found if match))
    if not strides:
        raise ValueError(f"`model` must be a ShuffleNetDetector. Received: model={model!r}")
    return strides


def _checked_strides(strides: Any, neck: str) -> tuple[int, ...]:
    possible = (_FUSED_STRIDE,) if neck == "fused" else STRIDES
    if strides is None:
        return possible
    wanted = tuple(sorted({*strides})) if isinstance(strides, list | tuple) else ()
    if not wanted or tuple(strides) != wanted or not set(wanted) <= set(possible):
        raise ValueError(
            f"`strides` must be a tuple of some of {possible}, ascending, with neck={neck!r}. "
            f"Received: strides={strides!r}"
        )
    return wanted


def _check_weights(weights: Any) -> None:
    is_path = isinstance(weights, str | os.PathLike)
    if weights is not None and not (is_path and str(weights).endswith(KERAS_SUFFIXES)):
        raise ValueError(
            "`weights` must be None (random) or the path of a file that ends with one of "
            f"{', '.join(KERAS_SUFFIXES)}; a classifier's weights are for `backbone`. "
            f"Received: weights={weights!r}"
        )
    if is_path and not Path(weights).is_file():
        raise FileNotFoundError(
            f"`weights` names a file that does not exist: {str(weights)!r}; check it"
        )


def _new_backbone(scale: float, input_shape: Sequence[int] | None) -> keras.Model:
    shape = (DEFAULT_SIZE, DEFAULT_SIZE, 3) if input_shape is None else input_shape
    return ShuffleNetV2(scale=scale, input_shape=shape, include_top=False)


def _check_size(image: Any, input_shape: Sequence[int] | None = None) -> None:
    shape = tuple(image.shape[1:])
    if input_shape is not None and tuple(input_shape) != shape:
        raise ValueError(
            f"`input_shape` must equal that of `backbone`, {shape}, or be None. "
            f"Received: input_shape={input_shape!r}"
        )
    if any(size is None or size % STRIDES[-1] for size in shape[:2]):
        raise ValueError(
            f"`input_shape` must have a height and a width that are multiples of {STRIDES[-1]}. "
            f"Received: input_shape={shape}"
        )


def _by_stride(image: Any, maps: Sequence[Any]) -> Maps:
    """Returns a backbone's maps by their strides, which are checked."""
    height, width = image.shape[1:3]
    found = [(height // x.shape[1], width // x.shape[2]) for x in maps]
    if found != [(stride, stride) for stride in STRIDES]:
        raise ValueError(
            f"`backbone` must have stages of stride {STRIDES}, without small_images. "
            f"Received: maps of strides {found}"
        )
    return dict(zip(STRIDES, maps, strict=True))


def _convolution(x: Any, name: str, width: int, relu: bool = True) -> Any:
    """Returns `x` after a 1x1 convolution, BN and, perhaps, ReLU."""
    x = pointwise(width, name=name)(x)
    x = batch_norm(name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _separable(
    x: Any, name: str, width: int, stride: int = 1, kernel: int = 3, relus: tuple = (True, True)
) -> Any:
    """Returns `x` after a depthwise and a 1x1 convolution, each with BN and, perhaps, ReLU."""
    x = keras.layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = batch_norm(name=f"{name}_depthwise_bn")(x)
    if relus[0]:
        x = keras.layers.ReLU(name=f"{name}_depthwise_relu")(x)
    return _convolution(x, f"{name}_pointwise", width, relus[1])


def _doubled(x: Any, name: str) -> Any:
    # Bilinear: old compilers know its operator, and none has to be emulated by a tile.
    return keras.layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_up")(x)


def _fpn(maps: Maps, width: int, strides: Sequence[int]) -> Maps:
    """Returns the maps of `strides`, each with what all coarser ones know."""
    lateral = {s: _convolution(maps[s], f"lateral{s}", width) for s in STRIDES if s >= strides[0]}
    levels = {STRIDES[-1]: lateral[STRIDES[-1]]}
    for stride in reversed(STRIDES[:-1]):
        if stride in lateral:
            name = f"topdown{stride}"
            # The 1x1 convolution is before the upsampling, where there are 4 times fewer pixels.
            coarser = _doubled(levels[2 * stride], name)
            x = keras.layers.Add(name=f"{name}_add")([lateral[stride], coarser])
            levels[stride] = _separable(x, name, width)
    return {stride: levels[stride] for stride in strides}


def _pan(maps: Maps, width: int, strides: Sequence[int]) -> Maps:
    """Returns the maps of `strides`, each with what all finer and coarser ones know."""
    levels = dict(_fpn(maps, width, STRIDES))
    for stride in STRIDES[1:]:
        if stride <= strides[-1]:
            name = f"bottomup{stride}"
            finer = _separable(levels[stride // 2], name, width, stride=2)
            levels[stride] = keras.layers.Add(name=f"{name}_add")([levels[stride], finer])
    return {stride: levels[stride] for stride in strides}


def _fused(maps: Maps, width: int, strides: Sequence[int]) -> Maps:
    """Returns one map of stride 16: the sum of all three."""
    finer = _separable(maps[8], "fuse8", width, stride=2, relus=(False, False))
    middle = _convolution(maps[16], "fuse16", width, relu=False)
    coarser = _doubled(_convolution(maps[32], "fuse32", width, relu=False), "fuse32")
    x = keras.layers.Add(name="fuse_add")([finer, middle, coarser])
    x = keras.layers.ReLU(name="fuse_relu")(x)
    # One level has to see objects of all sizes: a wider window.
    return {_FUSED_STRIDE: _separable(x, "fuse", width, kernel=_FUSED_KERNEL)}


_NECKS: dict[str, Callable[[Maps, int, Sequence[int]], Maps]] = {
    "pan": _pan,
    "fpn": _fpn,
    "fused": _fused,
}


def _head(levels: Maps, width: int, classes: int) -> Any:
    """Returns what is predicted at all points; the last layer is shared by all levels."""
    predict = keras.layers.Conv2D(
        SIDES + classes,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=_PREDICTION_DEVIATION),
        bias_initializer=keras.initializers.Constant([0.0] * SIDES + [_CLASS_BIAS] * classes),
        name="predictions",
    )
    points = []
    for stride, x in levels.items():
        x = predict(_separable(x, f"head{stride}", width))
        points.append(keras.layers.Reshape((-1, SIDES + classes), name=f"points{stride}")(x))
    if len(points) == 1:
        return points[0]
    return keras.layers.Concatenate(axis=1, name="points")(points)
