"""Operations on one image for augmentation, as Pillow defines them: colours, shapes, histograms.

An image is float32 [height, width, channels] with integer values from 0 to 255 and 1 or 3 channels.
The result has the same shape; its values are not always integers.
"""

import tensorflow as tf

# Pillow's ImageFilter.SMOOTH.
_SMOOTH = ((1 / 13, 1 / 13, 1 / 13), (1 / 13, 5 / 13, 1 / 13), (1 / 13, 1 / 13, 1 / 13))


def brightness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Returns the image blended with black; factor 0 is black, 1 the image."""
    return _blend(tf.zeros_like(image), image, factor)


def saturation(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Returns the image blended with its grey version (Pillow's Color)."""
    return _blend(tf.broadcast_to(_gray(image), tf.shape(image)), image, factor)


def contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Returns the image blended with its mean grey."""
    mean = tf.round(tf.reduce_mean(_gray(image)))
    return _blend(tf.fill(tf.shape(image), mean), image, factor)


def sharpness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Returns the image blended with its smoothed version; the border is unchanged."""
    channels = image.shape[-1]
    kernel = tf.tile(tf.constant(_SMOOTH)[:, :, None, None], [1, 1, channels, 1])
    smooth = tf.nn.depthwise_conv2d(image[None], kernel, [1, 1, 1, 1], "VALID")[0]
    around = [[1, 1], [1, 1], [0, 0]]
    inside = tf.pad(tf.ones_like(smooth, tf.bool), around)
    return _blend(tf.where(inside, tf.pad(tf.round(smooth), around), image), image, factor)


def posterize(image: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Returns the image with only the `bits` (int32, 1 to 8) highest bits of each value."""
    step = tf.cast(tf.bitwise.left_shift(1, 8 - bits), tf.float32)
    return tf.floor(image / step) * step


def solarize(image: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Returns the image with values of at least `threshold` inverted."""
    return tf.where(image < threshold, image, 255.0 - image)


def autocontrast(image: tf.Tensor) -> tf.Tensor:
    """Returns the image with each channel stretched to 0..255."""
    low = tf.reduce_min(image, [0, 1])
    high = tf.reduce_max(image, [0, 1])
    stretched = tf.floor((image - low) * tf.math.divide_no_nan(255.0, high - low))
    return tf.where(high > low, stretched, image)


def equalize(image: tf.Tensor) -> tf.Tensor:
    """Returns the image with each channel's histogram equalized."""
    channels = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    return tf.cast(tf.stack([_equalize_channel(c) for c in channels], axis=-1), tf.float32)


def shear(image: tf.Tensor, along_x: tf.Tensor, along_y: tf.Tensor) -> tf.Tensor:
    """Returns the image sheared about its upper left corner; the rest is black."""
    return _affine(image, [1.0, along_x, 0.0, along_y, 1.0, 0.0])


def translate(image: tf.Tensor, right: tf.Tensor, down: tf.Tensor) -> tf.Tensor:
    """Returns the image moved by a number of pixels; the rest is black."""
    return _affine(image, [1.0, 0.0, -right, 0.0, 1.0, -down])


def rotate(image: tf.Tensor, degrees: tf.Tensor) -> tf.Tensor:
    """Returns the image rotated counterclockwise about its centre; the rest is black."""
    angle = degrees * (3.141592653589793 / 180)
    cos, sin = tf.cos(angle), tf.sin(angle)
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    x, y = width / 2, height / 2
    return _affine(image, [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y])


def _affine(image: tf.Tensor, matrix: list) -> tf.Tensor:
    """Reads each pixel at the place where `matrix` maps its centre; nearest neighbour.

    `matrix` has 2 rows of 3 numbers.
    """
    a, b, c, d, e, f = (tf.cast(value, tf.float32) for value in matrix)
    # The operator's origin is the centre of the first pixel, the matrix's is its corner.
    half = 0.5
    transform = [a, b, c + half * (a + b - 1), d, e, f + half * (d + e - 1), 0.0, 0.0]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.stack(transform)[None],
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )[0]


def _blend(other: tf.Tensor, image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(other + factor * (image - other), 0.0, 255.0)


def _gray(image: tf.Tensor) -> tf.Tensor:
    return image if image.shape[-1] == 1 else tf.round(tf.image.rgb_to_grayscale(image))


def _equalize_channel(channel: tf.Tensor) -> tf.Tensor:
    counts = tf.math.bincount(tf.reshape(channel, [-1]), minlength=256, maxlength=256)
    # Pillow excludes the brightest value in the image from the sum.
    last = tf.boolean_mask(counts, counts > 0)[-1]
    step = (tf.reduce_sum(counts) - last) // 255
    table = (tf.cumsum(counts, exclusive=True) + step // 2) // tf.maximum(step, 1)
    return tf.where(step > 0, tf.gather(tf.minimum(table, 255), channel), channel)
