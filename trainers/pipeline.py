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
from trainers import mixing
from trainers.augmentation import augment, center_crop
from trainers.cli import UserError
from trainers.config import TrainConfig
from trainers.datasets import decode, load_source
from trainers.sources import Source


def training_batches(config: TrainConfig, source: Source, start: int) -> tf.data.Dataset:
    """Returns the endless training stream of (images, labels).

    Args:
      config: sizes, preprocessing, augmentation, mixing, batch_size and seed matter.
      source: the training split.
      start: steps already taken; the stream goes on behind them.

    Returns:
      Batches of float32 [batch, size, size, channels], normalized, and int64 [batch]; with mixup
      or CutMix the labels are float32 [batch, classes], shares. Every batch is full: it runs on
      into the next epoch.
    """
    classes = len(source.class_names)

    def load(position: tf.Tensor, image: tf.Tensor, label: tf.Tensor):
        image = augment(decode(image, source.channels), position, config)
        return position, image, label

    def finish(positions: tf.Tensor, images: tf.Tensor, labels: tf.Tensor):
        images = _normalize(images, config)
        if config.random_erasing:
            images = mixing.erase(images, positions[0], config)
        if mixing.mixes(config):
            labels = tf.one_hot(labels, classes)
            images, labels = mixing.mix(images, labels, positions[0], config)
        return images, labels

    stream = _repeated(source, config, start * config.batch_size)
    stream = stream.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    stream = stream.batch(config.batch_size, drop_remainder=True)
    return stream.map(finish, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _repeated(source: Source, config: TrainConfig, start: int) -> tf.data.Dataset:
    """Returns the shuffled stream with each example as often as the config wants it.

    Hoffer et al., 2020; Berman et al., 2019. An epoch has as many positions as ever, so it shows
    a part of the images only, several times.
    """
    times = config.repeated_augmentation
    if times == 1:
        return source.shuffled(config.seed, start)

    def repeat(position: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> tf.data.Dataset:
        positions = tf.data.Dataset.range(position * times, (position + 1) * times)
        return positions.map(lambda position: (position, image, label))

    # A batch holds whole groups, so that every start is the begin of one.
    return source.shuffled(config.seed, start // times).flat_map(repeat)


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

    Examples:
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
