"""Augmentation of a whole training batch: mixup, CutMix and random erasing."""

import tensorflow as tf

from trainers.settings import AugmentationConfig

# So that a batch's random numbers differ from those of its images.
_MIX, _ERASE = 101, 102
# Random erasing's share of the area, and height to width (Zhong et al., 2017).
_ERASED_AREA = (0.02, 0.33)
_ERASED_RATIO = (0.3, 3.3)


def mixes(config: AugmentationConfig) -> bool:
    """Returns whether labels become shares of several classes."""
    return config.mixup > 0 or config.cutmix > 0


def mix(
    images: tf.Tensor, labels: tf.Tensor, key: tf.Tensor, config: AugmentationConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns each image and its label mixed with its neighbour's in the batch.

    mixup (Zhang et al., 2018) blends the two images, CutMix (Yun et al., 2019) pastes a box of one
    into the other. If the config has both, each image gets one of them at random. Each image has
    its own share, drawn from Beta(alpha, alpha).

    Args:
      images: float32 [batch, size, size, channels].
      labels: float32 [batch, classes], one-hot.
      key: int64 [2], the run's seed and the place of the batch's first example in the stream.
      config: mixup, cutmix and repeated_augmentation matter.

    Returns:
      Images and labels of the same shapes; the labels are shares that add up to 1.
    """
    batch, size = images.shape[0], images.shape[1]
    share_key, box_key, choice_key = _keys(key, _MIX, 3)
    cuts = tf.random.stateless_uniform([batch], choice_key) < _cut_share(config)
    alpha = tf.where(cuts, config.cutmix, config.mixup)
    own = _beta(share_key, alpha)
    box = _cut_boxes(box_key, tf.sqrt(1 - own), size)
    # The share of each pixel that is the image's own.
    blended = tf.fill([batch, size, size, 1], 1.0) * own[:, None, None, None]
    mask = tf.where(cuts[:, None, None, None], 1 - box, blended)
    shares = tf.where(cuts, tf.reduce_mean(mask, [1, 2, 3]), own)[:, None]
    # The neighbour shows another image, not a variant of the same one.
    images = mask * images + (1 - mask) * tf.roll(images, config.repeated_augmentation, 0)
    labels = shares * labels + (1 - shares) * tf.roll(labels, config.repeated_augmentation, 0)
    return images, labels


def erase(images: tf.Tensor, key: tf.Tensor, share: float) -> tf.Tensor:
    """Returns the images, some with a random rectangle of zeros.

    Random erasing (Zhong et al., 2017); zero is the middle, because images are normalized. A
    rectangle that would be longer than the image ends at its border.

    Args:
      images: float32 [batch, size, size, channels], normalized.
      key: as in `mix`.
      share: share of the images that lose a rectangle.
    """
    batch, size = images.shape[0], images.shape[1]
    choice_key, area_key, ratio_key, place_key = _keys(key, _ERASE, 4)
    chosen = tf.random.stateless_uniform([batch], choice_key) < share
    area = tf.random.stateless_uniform([batch], area_key, *_ERASED_AREA)
    low, high = tf.unstack(tf.math.log(tf.constant(_ERASED_RATIO)))
    ratio = tf.exp(tf.random.stateless_uniform([batch], ratio_key, low, high))
    sides = size * tf.sqrt(tf.stack([area * ratio, area / ratio], axis=1))
    sides = tf.minimum(tf.cast(tf.round(sides), tf.int32), size)
    places = tf.random.stateless_uniform([batch, 2], place_key)
    begin = tf.cast(tf.floor(places * tf.cast(size - sides + 1, tf.float32)), tf.int32)
    box = _boxes(begin, begin + sides, size)
    return tf.where(chosen[:, None, None, None], images * (1 - box), images)


def _keys(key: tf.Tensor, purpose: int, count: int) -> list[tf.Tensor]:
    key = tf.random.experimental.stateless_fold_in(key, tf.constant(purpose, tf.int64))
    return tf.unstack(tf.random.experimental.stateless_split(key, num=count))


def _cut_share(config: AugmentationConfig) -> float:
    if config.mixup > 0 and config.cutmix > 0:
        return 0.5
    return 1.0 if config.cutmix > 0 else 0.0


def _beta(key: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    # In double precision: for a small alpha both draws can be too small for float32.
    alpha = tf.cast(alpha, tf.float64)
    draws = tf.random.stateless_gamma([2, *alpha.shape], key, alpha, dtype=tf.float64)
    return tf.cast(draws[0] / (draws[0] + draws[1]), tf.float32)


def _cut_boxes(key: tf.Tensor, sides: tf.Tensor, size: int) -> tf.Tensor:
    """Returns masks of boxes with random centres, cropped at the border; sides are in [0, 1]."""
    centres = tf.random.stateless_uniform([*sides.shape, 2], key, 0, size, tf.int32)
    half = tf.cast(sides * size / 2, tf.int32)[:, None]
    return _boxes(centres - half, centres + half, size)


def _boxes(begin: tf.Tensor, end: tf.Tensor, size: int) -> tf.Tensor:
    """Returns float32 [batch, size, size, 1], 1 in the box; begin, end: int32 [batch, 2]."""
    places = tf.range(size)
    inside = (places >= begin[..., None]) & (places < end[..., None])
    return tf.cast(inside[:, 0, :, None] & inside[:, 1, None, :], tf.float32)[..., None]
