"""Crops of images: cut out while decoding, then scaled to a square.

An image is uint8 [height, width, channels], or the bytes of a file as a string tensor.
"""

import tensorflow as tf

from trainers.data.images.decoding import decode, decode_part

# Width to height of a random crop, as in Inception's and the papers' training.
_ASPECT_RATIOS = (3 / 4, 4 / 3)
# Decoding only a window of a JPEG can change this many pixels at its border, because a JPEG stores
# colours at a lower resolution.
_COLOR_REACH = 16
_SMALL = 64  # pixels


def center_crop(
    image: tf.Tensor, resize_size: int, input_size: int, channels: int = 3
) -> tf.Tensor:
    """Scales the shorter side to `resize_size` and cuts out the central square.

    Args:
      image: bytes of a file, or uint8 or float32 [height, width, channels].
      resize_size, input_size: pixels.
      channels: 1 or 3, of an encoded image.

    Returns:
      float32 [input_size, input_size, channels], 0 to 255, as from Pillow's bilinear filter.
    """
    if resize_size > _SMALL:
        return _center_crop(image, resize_size, input_size, channels)
    # Decoding a whole small image takes no longer than finding its centre.
    image = decode(image, channels)
    fits = tf.reduce_all(tf.shape(image)[:2] == [input_size, input_size])
    square = tf.cond(
        fits & (resize_size == input_size),
        lambda: tf.cast(image, tf.float32),
        lambda: _center_crop(image, resize_size, input_size, channels),
    )
    return tf.ensure_shape(square, [input_size, input_size, image.shape[-1]])


def _center_crop(image: tf.Tensor, resize_size: int, input_size: int, channels: int) -> tf.Tensor:
    def choose(shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        begin, factor = _center(shape, resize_size, input_size)
        # The filter is as wide as a pixel of the result.
        first = tf.floor((begin - 1) / factor) - _COLOR_REACH
        last = tf.math.ceil((begin + input_size + 1) / factor) + _COLOR_REACH
        first = tf.maximum(tf.cast(first, tf.int32), 0)
        last = tf.minimum(tf.cast(last, tf.int32), shape[:2])
        # The scaled window starts before the square; it is moved by the difference.
        return tf.concat([first, last - first], 0), tf.stack(
            [factor, tf.cast(first, tf.float32) * factor - begin]
        )

    part, placed = decode_part(image, channels, choose)
    square = tf.raw_ops.ScaleAndTranslate(
        images=part[None],
        size=[input_size, input_size],
        scale=placed[0],
        translation=placed[1],
        kernel_type="triangle",
        antialias=True,
    )[0]
    return tf.ensure_shape(square, [input_size, input_size, part.shape[-1]])


def resized_crop(
    image: tf.Tensor, key: tf.Tensor, size: int, min_area: float, channels: int = 3
) -> tf.Tensor:
    """Returns a random part of the image, scaled to a square.

    Args:
      image: bytes of a file, or uint8 [height, width, channels].
      key: int64 [2].
      size: pixels.
      min_area: smallest share of the image's area.
      channels: 1 or 3, of an encoded image.

    Returns:
      float32 [size, size, channels], 0 to 255.
    """

    def choose(shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            shape,
            bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            seed=key,
            aspect_ratio_range=_ASPECT_RATIOS,
            area_range=(min_area, 1.0),
            min_object_covered=0.0,
        )
        return tf.concat([begin[:2], extent[:2]], 0), tf.constant(0.0)

    return resize(decode_part(image, channels, choose)[0], size)


def _center(shape: tf.Tensor, resize_size: int, input_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where the central square starts in the scaled image, and the factors; float32 [2]."""
    shorter = tf.minimum(shape[0], shape[1])
    # Rounded as in torchvision and the papers' code, and never below the target size.
    scaled = tf.cast(tf.round(shape[:2] * resize_size / shorter), tf.int32)
    begin = (scaled - input_size) // 2
    return tf.cast(begin, tf.float32), tf.cast(scaled / shape[:2], tf.float32)


def resize(image: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
    """Returns the image scaled: shrunk by averaging areas, enlarged bilinearly.

    Training uses it instead of Pillow's bilinear filter, because it takes a fifth of the time of
    `tf.image.resize(antialias=True)`. Unlike resizing without antialiasing, it uses every pixel.

    Args:
      image: uint8 or float32 [height, width, channels].
      size: pixels of a square, or int32 [2], height and width.

    Returns:
      float32 [height, width, channels].
    """
    extent, wanted = tf.shape(image)[:2], tf.broadcast_to(size, [2])
    shrunk = tf.minimum(extent, wanted)
    image = tf.cond(
        tf.reduce_all(extent == shrunk),
        lambda: tf.cast(image, tf.float32),
        lambda: tf.image.resize(image, shrunk, "area"),
    )
    image = tf.cond(
        tf.reduce_all(shrunk == wanted), lambda: image, lambda: tf.image.resize(image, wanted)
    )
    side = size if isinstance(size, int) else None
    return tf.ensure_shape(image, [side, side, image.shape[-1]])
