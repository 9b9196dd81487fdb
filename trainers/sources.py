"""The two ways of reading images: any one by its number, or one after the other."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

_SHUFFLE_BUFFER = 10_000
# Keeps the epochs of one seed apart from those of the next.
_SEED_STRIDE = 1_000_003


@dataclasses.dataclass(frozen=True)
class Source:
    """The images of one split, decoded or not, with their labels.

    Args:
      class_names: in the order of the labels.
      num_examples: images in the split.
      channels: 1 or 3, of the decoded images.
      skipped: files that are left out because they cannot be decoded.

    Both streams are deterministic. An image is a uint8 tensor [height, width, channels] or
    the bytes of an encoded file as a string tensor; a label is an int64 scalar.
    """

    class_names: tuple[str, ...]
    num_examples: int
    channels: int
    skipped: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    def ordered(self) -> tf.data.Dataset:
        """Returns (image, label) of every example once, in a fixed order."""
        raise NotImplementedError

    def shuffled(self, seed: int, start: int) -> tf.data.Dataset:
        """Returns an endless stream of (position, image, label) that begins at `start`.

        The position counts examples since the run began; every epoch has its own order.
        What stands at a position depends on the seed alone, so that a run resumes exactly.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class IndexedSource(Source):
    """Images that can be read by number: a stream can begin anywhere at no cost.

    Args:
      read: a graph function from an int64 index to (image, label).
    """

    read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

    def ordered(self) -> tf.data.Dataset:
        """See the base class."""
        return tf.data.Dataset.range(self.num_examples).map(
            self.read, num_parallel_calls=tf.data.AUTOTUNE
        )

    def shuffled(self, seed: int, start: int) -> tf.data.Dataset:
        """See the base class."""

        def read(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            epoch, place = position // self.num_examples, position % self.num_examples
            index = tf.random.experimental.index_shuffle(
                place, seed=tf.stack([tf.constant(seed, tf.int64), epoch]),
                max_index=tf.constant(self.num_examples - 1, tf.int64),
            )  # fmt: skip
            return (position, *self.read(index))

        return tf.data.Dataset.range(start, tf.int64.max).map(
            read, num_parallel_calls=tf.data.AUTOTUNE
        )


@dataclasses.dataclass(frozen=True)
class RecordSource(Source):
    """Images that lie one behind the other in record files, too many to hold in memory.

    Args:
      records: a data set of (image, label) in a fixed order.
    """

    records: tf.data.Dataset

    def ordered(self) -> tf.data.Dataset:
        """See the base class."""
        return self.records

    def shuffled(self, seed: int, start: int) -> tf.data.Dataset:
        """See the base class."""
        first_epoch, place = divmod(start, self.num_examples)

        def epoch_of(epoch: tf.Tensor) -> tf.data.Dataset:
            # This function's own seed: a global seed would change the order, and one of 0 makes
            # `shuffle` compare the epoch's, a tensor, with 0 in Python.
            tf.compat.v1.set_random_seed(_SEED_STRIDE)
            # One seed per epoch: the order of epoch 7 is known without playing 1 to 6.
            order = self.records.shuffle(
                _SHUFFLE_BUFFER,
                seed=tf.constant(seed * _SEED_STRIDE, tf.int64) + epoch,
                reshuffle_each_iteration=False,
            )
            return order.enumerate(epoch * self.num_examples)

        # At most one epoch of undecoded records is read to find the place.
        stream = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch_of).skip(place)
        return stream.map(lambda position, example: (position, *example))
