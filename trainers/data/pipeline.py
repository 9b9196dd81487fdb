"""The input pipeline: decode, augment, resize, normalize, batch, prefetch.

The example at a place of the training stream depends only on the seed and the place: all random
numbers are stateless, keyed by the seed and the position. So a resumed run continues reading
exactly where it stopped, without replaying what came before.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from common.cli import UserError
from keras_shufflenet.preprocessing import PREPROCESSING
from trainers.config import TrainConfig
from trainers.data import data_service
from trainers.data.datasets import load_source
from trainers.data.images import mixing
from trainers.data.images.augmentation import augment
from trainers.data.images.crops import center_crop
from trainers.data.sources import Shard, Source
from trainers.settings import ImageConfig

# Words in TensorFlow's messages about a file that is missing or not an image.
_READING = ("ecode", "JPEG", "No such file")
# What a user can do about it, where `verify_images` has an effect.
_REMEDY = "with --verify_images unreadable files are named and skipped"
# One worker with one device.
ALONE = tf.distribute.InputContext()


# AutoGraph would spend seconds looking for Python ifs and loops here, but there are none.
@tf.autograph.experimental.do_not_convert
def training_batches(
    config: TrainConfig, source: Source, start: int, context: tf.distribute.InputContext = ALONE
) -> tf.data.Dataset:
    """Returns the endless training stream of (images, labels).

    Args:
      config: images, augmentation, batch_size, seed and data_service matter.
      source: the training split.
      start: steps already taken; the stream continues after them.
      context: this worker's number and how many there are; a batch is divided evenly between
        workers and devices.

    Returns:
      For each of the worker's devices, one after another, its share of the batch: float32 [share,
      size, size, channels], normalized, and int64 [share]. With mixup or CutMix the labels are
      float32 [share, classes], shares of classes. Every batch is full: the last batch of an epoch
      continues into the next one.
    """
    augmentation, classes = config.augmentation, len(source.class_names)
    batch_size, seed = config.optimization.batch_size, config.optimization.seed
    shard = shard_of(batch_size, context)

    def key_of(position: tf.Tensor) -> tf.Tensor:
        return tf.stack([tf.constant(seed, tf.int64), position])

    def load(position: tf.Tensor, visit: tf.Tensor, image: tf.Tensor, label: tf.Tensor):
        key = key_of(position)
        # Which images are mirrored in the first epoch also depends on the seed.
        image = augment(image, key, visit + seed, augmentation, config.images, source.channels)
        # Per image, because a whole batch does not fit into the CPU's cache.
        return position, normalize(image, config.images.preprocessing), label

    def finish(positions: tf.Tensor, images: tf.Tensor, labels: tf.Tensor):
        if augmentation.random_erasing:
            images = mixing.erase(images, key_of(positions[0]), augmentation.random_erasing)
        if mixing.mixes(augmentation):
            labels = tf.one_hot(labels, classes)
            images, labels = mixing.mix(images, labels, key_of(positions[0]), augmentation)
        return images, labels

    times = augmentation.repeated_augmentation
    stream = _loaded(source, seed, start * batch_size, shard, times, load)
    stream = stream.batch(shard.length, drop_remainder=True)
    stream = stream.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    if config.data.data_service:
        stream = data_service.distribute(stream, config.data.data_service)
    return divided(stream, batch_size, context).prefetch(2)


def shard_of(batch_size: int, context: tf.distribute.InputContext) -> Shard:
    """Returns the shard of each batch that a worker reads."""
    workers = context.num_input_pipelines
    return Shard(context.input_pipeline_id, workers, batch_size // workers)


def divided(
    batches: tf.data.Dataset, batch_size: int, context: tf.distribute.InputContext
) -> tf.data.Dataset:
    """Returns a worker's batches, divided into those of its devices."""
    if context.num_replicas_in_sync == context.num_input_pipelines:
        return batches
    share = context.get_per_replica_batch_size(batch_size)
    return batches.rebatch(share, drop_remainder=True)


def _loaded(
    source: Source, seed: int, start: int, shard: Shard, times: int, load: Callable
) -> tf.data.Dataset:
    """Returns the shuffled stream, loaded, with each example several times.

    Hoffer et al., 2020; Berman et al., 2019. An epoch has as many positions as without repeats, so
    it shows only some of the images, each several times.
    """
    if times == 1:
        return source.shuffled(seed, start, shard, load)

    def repeat(position: tf.Tensor, visit: tf.Tensor, *example: tf.Tensor) -> tf.data.Dataset:
        variants = tf.data.Dataset.range(times)
        return variants.map(lambda n: (position * times + n, visit + n, *example))

    # A worker's batch holds whole groups of variants, so every start is the start of a group.
    shard = dataclasses.replace(shard, length=shard.length // times)
    stream = source.shuffled(seed, start // times, shard).flat_map(repeat)
    return stream.map(load, num_parallel_calls=tf.data.AUTOTUNE)


@tf.autograph.experimental.do_not_convert
def evaluation_batches(
    config: ImageConfig,
    batch_size: int,
    source: Source,
    context: tf.distribute.InputContext = ALONE,
) -> tf.data.Dataset:
    """Returns every image of the source once, as (images, labels, weights).

    Args:
      config: sizes and preprocessing.
      batch_size: over all devices of all workers.
      source: the evaluation split.
      context: as in `training_batches`; all devices of all workers get equally many batches.

    Returns:
      Shares of batches, as in `training_batches`: float32 [share, size, size, channels],
      normalized, int64 [share] and float32 [share]. The last batch is padded with zeros of weight
      0, so that shapes are static and no image is lost or counted twice with any number of devices.
    """
    sizes = config.resize_size, config.input_size
    batches = _uint8_batches(sizes, batch_size, source, context)
    batches = batches.map(lambda image, *rest: (normalize(image, config.preprocessing), *rest))
    return divided(batches, batch_size, context).prefetch(2)


@tf.autograph.experimental.do_not_convert
def uint8_batches(
    resize_size: int, input_size: int, batch_size: int, source: Source
) -> tf.data.Dataset:
    """Returns the same batches before normalization, uint8, for one device.

    Args:
      resize_size, input_size: as in `trainers.data.images.crops.center_crop`.
      batch_size: number of images; the last batch is filled up.
      source: the images.
    """
    return _uint8_batches((resize_size, input_size), batch_size, source, ALONE).prefetch(2)


def _uint8_batches(
    sizes: tuple[int, int], batch_size: int, source: Source, context: tf.distribute.InputContext
) -> tf.data.Dataset:
    shard = shard_of(batch_size, context)
    images = _uint8_examples(sizes, source, source.ordered(shard)).map(
        lambda image, label: (image, label, tf.constant(1.0))
    )
    total = source.num_examples + -source.num_examples % batch_size
    filled = shard.size(total) - shard.size(source.num_examples)
    shape = (sizes[1], sizes[1], source.channels)
    nothing = (tf.zeros(shape, tf.uint8), tf.constant(0, tf.int64), tf.constant(0.0))
    filling = tf.data.Dataset.from_tensors(nothing).repeat(filled)
    return images.concatenate(filling).batch(shard.length, drop_remainder=True)


@tf.autograph.experimental.do_not_convert
def uint8_images(
    config: TrainConfig,
    split: str,
    limit: int | None = None,
    seed: int | None = None,
    labels: Sequence[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images of a split as the evaluation sees them, before normalization.

    Devices get exactly these bytes. `preprocess_input(images, mode=config.images.preprocessing)`
    turns them into the network's input.

    Args:
      config: the training's, for its data set, sizes and workdir.
      split: in TFDS's notation.
      limit: maximum number of images; None: all.
      seed: seed of a random sample; None: the first images.
      labels: the class names that the data must have; None: any.

    Returns:
      uint8 [n, size, size, channels] and int32 [n].

    Raises:
      UserError: the data does not exist or cannot be read, or has other classes than `labels`.

    Examples:
      >>> images, labels = uint8_images(TrainConfig.load(workdir), "train", limit=200)
    """
    source = load_source(config.data, split, config.workdir, labels=labels)
    count = source.num_examples if limit is None else min(limit, source.num_examples)
    examples = source.ordered()
    if seed is not None:
        examples = source.shuffled(seed, 0).map(lambda position, visit, *example: example)
    with reading_errors(config.data.dataset):
        sizes = config.images.resize_size, config.images.input_size
        chosen = _uint8_examples(sizes, source, examples).take(count)
        images, labels = chosen.batch(count).get_single_element()
    return images.numpy(), labels.numpy().astype(np.int32)


@contextlib.contextmanager
def reading_errors(dataset: str) -> Iterator[None]:
    """Reports an image that cannot be read or decoded in one line, with the remedy."""
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        lines = error.message.strip().splitlines()
        # The first lines are of the training step that waited for the image.
        found = [line for line in lines if any(word in line for word in _READING)]
        if not found:
            raise
        raise UserError(f"an image of {dataset} cannot be read ({found[0]}); {_REMEDY}") from None


def _uint8_examples(
    sizes: tuple[int, int], source: Source, examples: tf.data.Dataset
) -> tf.data.Dataset:
    def transform(image: tf.Tensor, label: tf.Tensor):
        return uint8_image(image, *sizes, source.channels), label

    return examples.map(transform, num_parallel_calls=tf.data.AUTOTUNE)


def uint8_image(image: tf.Tensor, resize_size: int, input_size: int, channels: int) -> tf.Tensor:
    """Returns an image as the evaluation sees it before normalization; a graph function.

    Args:
      image: bytes of a file, or uint8 [height, width, channels].
      resize_size, input_size, channels: as in `trainers.data.images.crops.center_crop`.

    Returns:
      uint8 [input_size, input_size, channels].
    """
    image = center_crop(image, resize_size, input_size, channels)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def normalize(images: tf.Tensor, preprocessing: str) -> tf.Tensor:
    """Does the same as `preprocess_input`, in a third of the time if channels differ."""
    mode = PREPROCESSING[preprocessing]
    width, channels = images.shape[-2:]
    repeats = width * channels // len(mode.scale)
    rows = tf.reshape(images, [-1, width * channels])
    rows = tf.cast(rows, tf.float32) * tf.tile(tf.constant(mode.scale), [repeats])
    return tf.reshape(rows + tf.tile(tf.constant(mode.offset), [repeats]), images.shape)
