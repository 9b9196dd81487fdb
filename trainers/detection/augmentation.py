"""Random variants of a training image and its boxes, determined by the seed and the place."""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from trainers.data.images.crops import resize
from trainers.data.images.decoding import decode_part

# Outside of the image: the grey of ImageNet's mean, as other detectors' padding.
GREY = 114.0
# Folded into an example's key, so that no two decisions share their random numbers.
_WINDOW, _FLIPS, _COLOUR = 1, 2, 3
# A box that keeps less of its area in the window is not learnt, nor is what is left background.
_LEAST_SHARE = 0.3
_MIDDLE = 128.0


@dataclasses.dataclass(frozen=True)
class BoxAugmentation:
    """How training images are varied.

    Args:
      flip: mirror half of the images, left to right.
      flip_vertical: also upside down, where there is no up, as under a microscope.
      scale: smallest and largest size of the window that is cut out, as a share of the image's;
        above 1 there is grey around the image.
      aspect: each side of the window is also changed by up to this share.
      contrast: the contrast is changed by up to this share.
      shift: each colour is shifted by up to this many of 255.
      mosaic: share of the images that are put together from windows of four.

    Raises:
      ValueError: a number is out of its range.
    """

    flip: bool = True
    flip_vertical: bool = False
    scale: tuple[float, float] = (0.6, 1.25)
    aspect: float = 0.15
    contrast: float = 0.2
    shift: float = 20.0
    mosaic: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high <= 4:
            raise ValueError(f"scale must be two rising numbers from 0 to 4, got {self.scale}")
        for name, most in (("aspect", 0.9), ("contrast", 1.0), ("shift", 255.0), ("mosaic", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be from 0 to {most}, got {getattr(self, name)}")


NONE = BoxAugmentation(False, False, (1.0, 1.0), 0.0, 0.0, 0.0)


class Boxes(NamedTuple):
    """The boxes of one image, padded: `box_ops.Truth` without the batch."""

    boxes: tf.Tensor
    classes: tf.Tensor
    wanted: tf.Tensor
    ignored: tf.Tensor


def augment(
    image: tf.Tensor,
    boxes: Boxes,
    key: tf.Tensor,
    size: tuple[int, int],
    config: BoxAugmentation,
    channels: int = 3,
) -> tuple[tf.Tensor, Boxes]:
    """Returns a random variant of an image and its boxes.

    A window of the image, perhaps larger than it, is scaled to the network's input: objects become
    larger, smaller, wider, and are cut. Then it is mirrored and its colours are changed.

    Args:
      image: bytes of a file, or uint8 [height, width, channels], upright.
      boxes: in pixels of the upright image.
      key: int64 [2], the run's seed and the example's place in the training stream.
      size: (height, width) of the network's input.
      config: which changes are made.
      channels: 1 or 3, of an encoded image.

    Returns:
      float32 [height, width, channels], 0 to 255, and the boxes in pixels of it.
    """
    window = random_window(_fold(key, _WINDOW), config)
    return vary(*cut_out(image, boxes, window, size, channels), key, size, config)


def vary(
    image: tf.Tensor, boxes: Boxes, key: tf.Tensor, size: tuple[int, int], config: BoxAugmentation
) -> tuple[tf.Tensor, Boxes]:
    """Returns an image of a size, perhaps mirrored, in other colours; as `augment`."""
    flips = tf.random.stateless_uniform([2], _fold(key, _FLIPS)) < 0.5
    flips &= [config.flip, config.flip_vertical]
    image, boxes = _flipped(image, boxes, flips, size)
    return _recoloured(image, _fold(key, _COLOUR), config), boxes


def _fold(key: tf.Tensor, number: int) -> tf.Tensor:
    return tf.random.fold_in(key, number)


def random_window(
    key: tf.Tensor, config: BoxAugmentation, share: tf.Tensor | float = 1.0
) -> tf.Tensor:
    """Returns left, top, right, bottom of a window, as shares of the image's width and height.

    Args:
      key: int64 [2].
      config: of the window's size.
      share: factors for its width and height.
    """
    scale = tf.random.stateless_uniform([], _fold(key, 0), *config.scale)
    aspects = tf.random.stateless_uniform([2], _fold(key, 1), 1 - config.aspect, 1 + config.aspect)
    extent = scale * aspects * share
    # A smaller window lies inside of the image, a larger one around it.
    begin = tf.random.stateless_uniform([2], _fold(key, 2)) * (1 - extent)
    return tf.concat([begin, begin + extent], 0)


def cut_out(
    image: tf.Tensor,
    boxes: Boxes,
    window: tf.Tensor,
    size: tuple[int, int] | tf.Tensor,
    channels: int = 3,
) -> tuple[tf.Tensor, Boxes]:
    """Returns a window of an image, scaled to `size`, and its boxes; grey surrounds the image.

    Args:
      image: bytes of a file, of which no more than the window is decoded if it is a JPEG, or uint8
        [height, width, channels].
      boxes: in pixels of the upright image.
      window: float32 left, top, right, bottom, as shares of the image's width and height.
      size: (height, width) of the result.
      channels: 1 or 3, of an encoded image.

    Returns:
      float32 [*size, channels], and the boxes in pixels of it, cut at its edge. Of which little is
      left is ignored; of which nothing is left is padding.
    """
    target = tf.convert_to_tensor(size)

    def choose(shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        place = _place(window, shape[:2], target)
        return tf.reshape(place[:2], [4]), place

    part, place = decode_part(image, channels, choose)
    pixels = _surrounded(resize(part, place[3]), place[2], target)
    known = size if isinstance(size, tuple) else (None, None)
    pixels = tf.ensure_shape(pixels, [*known, part.shape[-1]])
    first, length, begin, extent = tf.unstack(tf.cast(place, tf.float32)[:, ::-1])
    factors = extent / length
    moved = boxes.boxes * tf.tile(factors, [2]) + tf.tile(begin - first * factors, [2])
    cut = tf.clip_by_value(moved, 0.0, tf.tile(tf.cast(target[::-1], tf.float32), [2]))
    share = tf.math.divide_no_nan(_areas(cut), _areas(moved))
    is_seen = share >= _LEAST_SHARE
    return pixels, Boxes(
        cut,
        boxes.classes,
        boxes.wanted & is_seen,
        (boxes.ignored & (share > 0)) | (boxes.wanted & ~is_seen & (share > 0)),
    )


def _place(window: tf.Tensor, stored: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Returns which part of an image a window has, and where the part lies in the result.

    In whole pixels, by which the boxes are moved as well: int32 [4, 2], rows before columns, begin
    and extent in the image, begin and extent in the result.
    """
    begin, end = window[1::-1], window[:1:-1]
    sizes, wanted = tf.cast(stored, tf.float32), tf.cast(target, tf.float32)
    first, last = _whole(begin * sizes, end * sizes, sizes)
    scale = wanted / (end - begin)
    start, stop = _whole((first / sizes - begin) * scale, (last / sizes - begin) * scale, wanted)
    return tf.cast(tf.stack([first, last - first, start, stop - start]), tf.int32)


def _whole(begin: tf.Tensor, end: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns an interval in whole pixels from 0 to `size`, of at least one pixel."""
    begin = tf.clip_by_value(tf.round(begin), 0.0, size - 1)
    return begin, tf.clip_by_value(tf.round(end), begin + 1, size)


def _surrounded(pixels: tf.Tensor, begin: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns an image at a place, int32 [2], of a grey one of `size`."""
    pads = tf.pad(tf.stack([begin, size - begin - tf.shape(pixels)[:2]], 1), [[0, 1], [0, 0]])
    return tf.cond(
        tf.reduce_any(pads > 0),
        lambda: tf.pad(pixels, pads, constant_values=GREY),
        lambda: pixels,
    )


def _areas(boxes: tf.Tensor) -> tf.Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _flipped(
    image: tf.Tensor, boxes: Boxes, flips: tf.Tensor, size: tuple[int, int]
) -> tuple[tf.Tensor, Boxes]:
    """Mirrors an image left to right, and upside down, where bool [2] says so."""
    image = tf.reverse(image, tf.where(flips[::-1])[:, 0])
    extent = tf.constant([size[1], size[0]] * 2, tf.float32)
    mirrored = extent - tf.gather(boxes.boxes, [2, 3, 0, 1], axis=1)
    corners = tf.where(tf.tile(flips, [2]), mirrored, boxes.boxes)
    return image, boxes._replace(boxes=corners)


def _recoloured(image: tf.Tensor, key: tf.Tensor, config: BoxAugmentation) -> tf.Tensor:
    width, channels = image.shape[-2:]
    contrast = tf.random.stateless_uniform(
        [], _fold(key, 0), 1 - config.contrast, 1 + config.contrast
    )
    shift = tf.random.stateless_uniform([channels], _fold(key, 1), -config.shift, config.shift)
    # As rows, because TensorFlow takes three times as long for factors of three channels.
    rows = tf.reshape(image, [-1, width * channels])
    rows = (rows - _MIDDLE) * contrast + _MIDDLE + tf.tile(shift, [width])
    return tf.reshape(tf.clip_by_value(rows, 0.0, 255.0), image.shape)
