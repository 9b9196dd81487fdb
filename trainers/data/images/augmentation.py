"""Random variants of a training image, determined by the seed and its place in the stream."""

import functools

import tensorflow as tf

from trainers.data.images import image_ops
from trainers.data.images.crops import center_crop, resized_crop
from trainers.settings import AugmentationConfig, ImageConfig

# Folded into an example's key, so that no two decisions share their random numbers.
_COLOR, _TRIVIAL = 1, 2
# Added to the key, which costs less than folding.
_CROP = (1 << 32, 0)
_JITTERED = (image_ops.brightness, image_ops.contrast, image_ops.saturation)
# The strengths of TrivialAugment Wide, as in torchvision: shares, pixels, degrees.
_STRENGTHS = 31
_SHEAR, _SHIFT, _ANGLE, _BLEND = 0.99, 32.0, 135.0, 0.99
_LEAST_BITS = 2


def augment(
    image: tf.Tensor,
    key: tf.Tensor,
    visit: tf.Tensor,
    config: AugmentationConfig,
    images: ImageConfig,
    channels: int = 3,
) -> tf.Tensor:
    """Returns a random variant of an image for training.

    Args:
      image: bytes of a file, or uint8 [height, width, channels].
      key: int64 [2], the run's seed and the example's place in the training stream.
      visit: int64 scalar that grows by one each time the image is used. The image is mirrored in
        every other epoch, so that each epoch shows what the previous one did not (Jordan, 2024,
        https://arxiv.org/abs/2404.00498; here, in 10 epochs on CIFAR-10, no gain was measured).
      config: which changes are made.
      images: sizes.
      channels: 1 or 3, of an encoded image.

    Returns:
      float32 [size, size, channels], 0 to 255, at the size of training images.
    """
    if config.crop == "resized":
        size, min_area = images.training_size, config.crop_min_area
        image = resized_crop(image, key + _CROP, size, min_area, channels)
    else:
        sizes = images.training_resize_size, images.training_size
        image = center_crop(image, *sizes, channels)
    if config.crop == "pad":
        image = _padded_crop(image, key, config.crop_padding)
    if config.flip:
        image = tf.cond(visit % 2 == 1, lambda: tf.reverse(image, [1]), lambda: image)
    if config.color_jitter:
        image = color_jitter(image, _fold(key, _COLOR), config.color_jitter)
    if config.trivial_augment:
        image = trivial_augment(image, _fold(key, _TRIVIAL))
    return image


def color_jitter(image: tf.Tensor, key: tf.Tensor, strength: float) -> tf.Tensor:
    """Changes brightness, contrast and saturation, one after another in random order.

    Args:
      image: float32 [height, width, channels], 0 to 255.
      key: int64 [2].
      strength: each factor is uniform in [1 - strength, 1 + strength].
    """
    factors = tf.random.stateless_uniform([3], key, 1 - strength, 1 + strength)
    order = tf.argsort(tf.random.stateless_uniform([3], _fold(key, 1)))
    changes = [
        functools.partial(change, factor=factor)
        for change, factor in zip(_JITTERED, tf.unstack(factors), strict=True)
    ]
    for place in range(len(changes)):
        image = _choose(order[place], image, changes)
    return image


def trivial_augment(image: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Applies one of 14 operations (one of them changes nothing) with random strength.

    TrivialAugment Wide (Müller and Hutter, 2021), with torchvision's operations.

    Args:
      image: float32 [height, width, channels], 0 to 255.
      key: int64 [2].

    Returns:
      float32 of the same shape; values are rounded first, as they are in files.
    """
    draws = tf.random.stateless_uniform([2], key)
    level = tf.floor(draws[0] * _STRENGTHS)
    strength = level / (_STRENGTHS - 1)
    sign = tf.where(draws[1] < 0.5, -1.0, 1.0)
    operations = trivial_operations(strength, sign * strength)
    index = tf.random.stateless_uniform([], _fold(key, 1), 0, len(operations), tf.int32)
    image = tf.clip_by_value(tf.round(image), 0.0, 255.0)
    return _choose(index, image, list(operations.values()))


def trivial_operations(strength: tf.Tensor, signed: tf.Tensor) -> dict:
    """Returns TrivialAugment's operations by name, each a function of the image.

    Args:
      strength: float32 scalar, 0 to 1.
      signed: the same or its negative, for operations with two directions.
    """
    # The largest strength leaves 8 - 6 bits, rounded as in torchvision.
    bits = 8 - tf.cast(tf.round(strength * (8 - _LEAST_BITS)), tf.int32)
    factor = 1.0 + signed * _BLEND
    shift = tf.cast(tf.cast(signed * _SHIFT, tf.int32), tf.float32)  # whole pixels
    return {
        "identity": lambda image: image,
        "shear_x": lambda image: image_ops.shear(image, signed * _SHEAR, 0.0),
        "shear_y": lambda image: image_ops.shear(image, 0.0, signed * _SHEAR),
        "translate_x": lambda image: image_ops.translate(image, shift, 0.0),
        "translate_y": lambda image: image_ops.translate(image, 0.0, shift),
        "rotate": lambda image: image_ops.rotate(image, signed * _ANGLE),
        "brightness": lambda image: image_ops.brightness(image, factor),
        "saturation": lambda image: image_ops.saturation(image, factor),
        "contrast": lambda image: image_ops.contrast(image, factor),
        "sharpness": lambda image: image_ops.sharpness(image, factor),
        "posterize": lambda image: image_ops.posterize(image, bits),
        "solarize": lambda image: image_ops.solarize(image, 255.0 - 255.0 * strength),
        "autocontrast": image_ops.autocontrast,
        "equalize": image_ops.equalize,
    }


def _choose(index: tf.Tensor, image: tf.Tensor, functions: list) -> tf.Tensor:
    branches = [functools.partial(function, image) for function in functions]
    return tf.ensure_shape(tf.switch_case(index, branches), image.shape)


def _fold(key: tf.Tensor, number: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(key, tf.constant(number, tf.int64))


def _padded_crop(image: tf.Tensor, key: tf.Tensor, padding: int) -> tf.Tensor:
    """Pads the image with its reflection and cuts out a random window of the original size."""
    # One draw of floats for both: for small images, a draw costs as much as all the rest.
    place = tf.random.stateless_uniform([2], key) * (2 * padding + 1)
    top, left = tf.unstack(tf.cast(place, tf.int32))
    padded = tf.pad(image, [[padding, padding], [padding, padding], [0, 0]], "REFLECT")
    height, width, _ = image.shape
    return tf.ensure_shape(padded[top : top + height, left : left + width], image.shape)
