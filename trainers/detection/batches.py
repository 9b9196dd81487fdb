"""Batches of images with boxes: a detection set as a source, and the streams made of it.

The stream has the properties of `trainers.data.pipeline`: the example at a place depends only on
the seed and the place, so a resumed run continues exactly, and workers read their own shards.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from trainers.data.images.decoding import decode
from trainers.data.pipeline import ALONE, divided, normalize, shard_of
from trainers.data.sources import IndexedSource, file_reader
from trainers.detection.augmentation import GREY, BoxAugmentation, Boxes
from trainers.detection.box_ops import Truth
from trainers.detection.data.dataset import DetectionSet
from trainers.detection.mosaic import varied


@dataclasses.dataclass(frozen=True)
class BatchSettings:
    """What both streams need to know.

    Args:
      height, width: of the network's input; images are scaled to it, whatever their shape.
      batch_size: over all devices of all workers.
      preprocessing: a mode of `keras_shufflenet.preprocess_input`.
      channels: 1 or 3.
      seed: of the order and of the variants.
    """

    height: int
    width: int
    batch_size: int
    preprocessing: str = "tf"
    channels: int = 3
    seed: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width


@dataclasses.dataclass(frozen=True)
class BoxSource(IndexedSource):
    """The images of a detection set, as bytes of their files, with `Boxes` instead of a label.

    Args:
      found: the set.
    """

    found: DetectionSet = dataclasses.field(kw_only=True)


def box_source(found: DetectionSet, channels: int = 3) -> BoxSource:
    """Returns the set's images, as bytes of their files, with `Boxes` instead of a label.

    Each image has as many boxes as the one with the most, at least one; the rest is padding.
    """
    counts = [len(image.boxes) for image in found.images]
    most, ends = max(1, *counts), np.cumsum(counts)
    starts = tf.constant(ends - counts, tf.int64)
    counts = tf.constant(counts, tf.int64)
    read_file = file_reader([image.path for image in found.images])
    corners, classes, crowds, difficult = (
        np.concatenate([getattr(image, name) for image in found.images])
        for name in ("boxes", "classes", "crowds", "difficult")
    )
    ignored = crowds | difficult
    flat = Boxes(*map(tf.constant, (corners, classes, ~ignored, ignored)))

    def read(index: tf.Tensor) -> tuple[tf.Tensor, Boxes]:
        start, count = tf.gather(starts, index), tf.gather(counts, index)

        def padded(values: tf.Tensor) -> tf.Tensor:
            pads = [[0, most - count], *[[0, 0]] * (len(values.shape) - 1)]
            mine = tf.pad(values[start : start + count], pads)
            return tf.ensure_shape(mine, [most, *values.shape[1:]])

        return read_file(index), Boxes(*map(padded, flat))

    return BoxSource(
        found=found,
        class_names=found.class_names,
        num_examples=len(found.images),
        channels=channels,
        read=read,
        files=tuple(image.path for image in found.images),
        class_counts=tuple(found.counts().tolist()),
        notes=found.notes,
    )


# AutoGraph would spend seconds looking for Python ifs and loops here, but there are none.
@tf.autograph.experimental.do_not_convert
def training_batches(
    settings: BatchSettings,
    augmentation: BoxAugmentation,
    source: BoxSource,
    start: int = 0,
    context: tf.distribute.InputContext = ALONE,
) -> tf.data.Dataset:
    """Returns the endless training stream of (images, truth).

    Args:
      settings: sizes, seed and normalization.
      augmentation: how images are varied.
      source: of `box_source`.
      start: steps already taken; the stream continues after them.
      context: as in `trainers.data.pipeline.training_batches`.

    Returns:
      Shares of batches: float32 [share, height, width, channels], normalized, and a `Truth`.
    """
    shard = shard_of(settings.batch_size, context)

    def load(position: tf.Tensor, visit: tf.Tensor, image: tf.Tensor, boxes: Boxes) -> Any:
        key = tf.stack([tf.constant(settings.seed, tf.int64), position])
        count, size, channels = source.num_examples, settings.size, settings.channels
        own = image, boxes
        pixels, boxes = varied(own, source.read, count, key, size, augmentation, channels)
        return normalize(pixels, settings.preprocessing), Truth(*boxes)

    stream = source.shuffled(settings.seed, start * settings.batch_size, shard, load)
    stream = stream.batch(shard.length, drop_remainder=True)
    return divided(stream, settings.batch_size, context).prefetch(2)


@tf.autograph.experimental.do_not_convert
def evaluation_images(settings: BatchSettings, source: BoxSource) -> tf.data.Dataset:
    """Returns every image once, as a detector on a device sees it, in the set's order.

    The whole image is scaled to the input's size, with an antialiasing filter, and rounded.

    Returns:
      Batches uint8 [up to batch_size, height, width, channels].
    """

    images = source.ordered().map(
        lambda image, boxes: as_on_devices(decode(image, settings.channels), settings.size),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return images.batch(settings.batch_size).prefetch(2)


@tf.autograph.experimental.do_not_convert
def numbered_batches(
    settings: BatchSettings, source: BoxSource, context: tf.distribute.InputContext = ALONE
) -> tf.data.Dataset:
    """Returns every image once with its number in the set, in full batches.

    Returns:
      Shares of batches, as in `training_batches`: float32 [share, height, width, channels],
      normalized, and int64 [share]. The last batch is padded with images of number -1.
    """
    shard, total = shard_of(settings.batch_size, context), source.num_examples
    numbers = tf.data.Dataset.range(shard.size(total + -total % settings.batch_size))

    def load(place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        position = shard.position(place)
        is_image = position < total
        # Padding is a copy of the first image: a file costs less than a second kind of branch.
        image, _ = source.read(tf.where(is_image, position, 0))
        pixels = as_on_devices(decode(image, settings.channels), settings.size)
        return normalize(pixels, settings.preprocessing), tf.where(
            is_image, position, tf.constant(-1, tf.int64)
        )

    batches = numbers.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    batches = batches.batch(shard.length, drop_remainder=True)
    return divided(batches, settings.batch_size, context).prefetch(2)


def as_on_devices(pixels: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Returns a whole image, uint8 [any, any, channels], scaled to a size and rounded to uint8."""
    factors = tf.constant(size, tf.float32) / tf.cast(tf.shape(pixels)[:2], tf.float32)
    # From grey and back, as the browser's page does it: so both round alike, bit for bit.
    scaled = tf.raw_ops.ScaleAndTranslate(
        images=tf.cast(pixels, tf.float32)[None] - GREY,
        size=size,
        scale=factors,
        translation=tf.zeros([2]),
        kernel_type="triangle",
        antialias=True,
    )[0]
    pixels = tf.ensure_shape(scaled + GREY, [*size, pixels.shape[-1]])
    return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)
