"""The input pipeline: decode, augment, resize, normalize, batch, prefetch.

What stands at a place of the training stream depends on the seed and on the place alone: all
random numbers are stateless, keyed by the seed and the position. So a resumed run reads on
exactly where it stopped, without replaying what came before.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_shufflenet import preprocess_input
from trainers.cli import UserError
from trainers.config import TrainConfig
from trainers.datasets import decode, load_source
from trainers.sources import Source

# A random crop's width to height, as in Inception's and the papers' training.
_ASPECT_RATIOS = (3 / 4, 4 / 3)


def training_batches(config: TrainConfig, source: Source, start: int) -> tf.data.Dataset:
    """Returns the endless training stream of (images, labels).

    Args:
      config: crop, flip, input_size, preprocessing, batch_size and seed matter.
      source: the training split.
      start: steps already taken; the stream goes on behind them.

    Returns:
      Batches of float32 [batch, size, size, channels], normalized, and int64 [batch]. Every
      batch is full: it runs on into the next epoch.
    """

    def load(position: tf.Tensor, image: tf.Tensor, label: tf.Tensor):
        image = augment(decode(image, source.channels), position, config)
        return image, label

    stream = source.shuffled(config.seed, start * config.batch_size)
    stream = stream.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    stream = stream.batch(config.batch_size, drop_remainder=True)
    return stream.map(lambda images, labels: (_normalize(images, config), labels)).prefetch(2)


def evaluation_batches(config: TrainConfig, source: Source) -> tf.data.Dataset:
    """Returns every image of the source once, as (images, labels, weights).

    Returns:
      Batches of float32 [batch, size, size, channels], normalized, int64 [batch] and float32
      [batch]. The last batch is filled up with zeros of weight 0, so that shapes are static
      and no image is lost or counted twice, on however many devices.
    """
    batch = config.batch_size
    images = _uint8_examples(config, source).map(
        lambda image, label: (image, label, tf.constant(1.0))
    )
    filled = -source.num_examples % batch
    shape = (config.input_size, config.input_size, source.channels)
    nothing = (tf.zeros(shape, tf.uint8), tf.constant(0, tf.int64), tf.constant(0.0))
    filling = tf.data.Dataset.from_tensors(nothing).repeat(filled)
    batches = images.concatenate(filling).batch(batch, drop_remainder=True)
    return batches.map(lambda image, *rest: (_normalize(image, config), *rest)).prefetch(2)


def uint8_images(
    config: TrainConfig,
    split: str,
    limit: int | None = None,
    shuffle: bool = False,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images of a split as the evaluation sees them, before normalization.

    Devices get exactly these bytes; `preprocess_input(images, mode=config.preprocessing)`
    makes them the network's input.

    Args:
      config: the training's, for its data set, sizes and workdir.
      split: in TFDS's notation.
      limit: at most so many images; None: all.
      shuffle: take a random sample instead of the first ones.
      seed: of that sample.

    Returns:
      uint8 [n, size, size, channels] and int32 [n].

    Raises:
      UserError: the data is not there or cannot be read.

    Example:
      >>> images, labels = uint8_images(TrainConfig.load(workdir), "train", limit=200)
    """
    source = load_source(config, split)
    count = source.num_examples if limit is None else min(limit, source.num_examples)
    examples = None
    if shuffle:
        examples = source.shuffled(seed, 0).map(lambda position, *example: example)
    with reading_errors(config):
        chosen = _uint8_examples(config, source, examples).take(count)
        images, labels = chosen.batch(count).get_single_element()
    return images.numpy(), labels.numpy().astype(np.int32)


@contextlib.contextmanager
def reading_errors(config: TrainConfig) -> Iterator[None]:
    """Turns an image that cannot be read or decoded into one line with the remedy."""
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        if "ecode" not in error.message and "No such file" not in error.message:
            raise
        reason = error.message.strip().partition("\n")[0]
        raise UserError(
            f"an image of {config.dataset} cannot be read ({reason}); "
            "with --verify_images unreadable files are named and left out"
        ) from None


def augment(image: tf.Tensor, position: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """Returns a random variant of an image for training.

    Args:
      image: uint8 [height, width, channels].
      position: int64 scalar, the example's place in the training stream.
      config: seed, crop, crop_padding, crop_min_area, flip and sizes matter.

    Returns:
      float32 [size, size, channels], 0 to 255.
    """
    key = tf.stack([tf.constant(config.seed, tf.int64), position])
    crop_key, flip_key = tf.unstack(tf.random.experimental.stateless_split(key, num=2))
    if config.crop == "resized":
        image = _resized_crop(image, crop_key, config)
    else:
        image = center_crop(image, config.resize_size, config.input_size)
    if config.crop == "pad":
        image = _padded_crop(image, crop_key, config.crop_padding)
    if config.flip:
        image = tf.image.stateless_random_flip_left_right(image, flip_key)
    return image


def center_crop(image: tf.Tensor, resize_size: int, input_size: int) -> tf.Tensor:
    """Scales the shorter side to `resize_size` and cuts the central square out.

    Args:
      image: uint8 [height, width, channels].
      resize_size, input_size: pixels.

    Returns:
      float32 [input_size, input_size, channels], 0 to 255.
    """
    shape = tf.shape(image)
    height, width = shape[0], shape[1]
    shorter = tf.minimum(height, width)
    image = tf.cast(image, tf.float32)
    # Rounded, as torchvision and the papers' code do it, and never below the wanted size.
    scaled = tf.cast(tf.round(shape[:2] * resize_size / shorter), tf.int32)
    image = tf.cond(
        shorter == resize_size,
        lambda: image,
        lambda: tf.image.resize(image, scaled, antialias=True),
    )
    top, left = (scaled[0] - input_size) // 2, (scaled[1] - input_size) // 2
    image = image[top : top + input_size, left : left + input_size]
    return tf.ensure_shape(image, [input_size, input_size, image.shape[-1]])


def _uint8_examples(
    config: TrainConfig, source: Source, examples: tf.data.Dataset | None = None
) -> tf.data.Dataset:
    def transform(image: tf.Tensor, label: tf.Tensor):
        image = decode(image, source.channels)
        image = center_crop(image, config.resize_size, config.input_size)
        return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8), label

    examples = source.ordered() if examples is None else examples
    return examples.map(transform, num_parallel_calls=tf.data.AUTOTUNE)


def _normalize(images: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    return preprocess_input(images, mode=config.preprocessing)


def _padded_crop(image: tf.Tensor, key: tf.Tensor, padding: int) -> tf.Tensor:
    padded = tf.pad(image, [[padding, padding], [padding, padding], [0, 0]], "REFLECT")
    return tf.image.stateless_random_crop(padded, image.shape, key)


def _resized_crop(image: tf.Tensor, key: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=key,
        aspect_ratio_range=_ASPECT_RATIOS,
        area_range=(config.crop_min_area, 1.0),
        min_object_covered=0.0,
    )
    part = tf.slice(image, begin, size)
    part = tf.image.resize(part, [config.input_size] * 2, antialias=True)
    return tf.ensure_shape(part, [config.input_size, config.input_size, image.shape[-1]])
