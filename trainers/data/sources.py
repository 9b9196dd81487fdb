"""The two ways of reading images: any image by its number, or one after another."""

import dataclasses
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

_SHUFFLE_BUFFER = 10_000
# Number of undecoded images that are read ahead; ImageNet's are 110 kB each.
_PREFETCHED = 1_000
_FILES_AT_ONCE = 4
# So that the epochs of one seed differ from those of the next.
_SEED_STRIDE = 1_000_003


def _as_it_is(*example: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return example


@dataclasses.dataclass(frozen=True)
class Shard:
    """The examples of a stream that one worker reads: `length` of every workers x length.

    Args:
      worker: this worker, counted from 0.
      workers: how many workers share the stream.
      length: number of consecutive examples that a worker reads, its share of a batch.

    Examples:
      >>> [Shard(worker=1, workers=2, length=3).position(n) for n in range(4)]
      [3, 4, 5, 9]
    """

    worker: int = 0
    workers: int = 1
    length: int = 1

    def position(self, place: tf.Tensor) -> tf.Tensor:
        """Returns the place in the whole stream of a place in this shard, both counted from 0."""
        block = place // self.length * self.workers + self.worker
        return block * self.length + place % self.length

    def holds(self, position: tf.Tensor) -> tf.Tensor:
        """Returns whether a place in the whole stream is in this shard."""
        return position // self.length % self.workers == self.worker

    def size(self, total: int) -> int:
        """Returns how many of the first `total` examples of the stream are in this shard."""
        blocks, rest = divmod(total, self.workers * self.length)
        return blocks * self.length + min(max(rest - self.worker * self.length, 0), self.length)


WHOLE = Shard()


@dataclasses.dataclass(frozen=True)
class Source:
    """The images of one split, decoded or not, with their labels.

    Args:
      class_names: in the order of the labels.
      num_examples: number of images in the split.
      channels: 1 or 3, of the decoded images.
      skipped: files that are skipped because they cannot be decoded.
      class_counts: number of images of each class, where it is known.
      notes: lines that a user should see before the images are used.
      hints: lines of advice that matter for a training alone.
      files: the examples' files, in the order of `ordered`; empty if they have none.

    Both streams are deterministic, and a worker can read only its own shard of them. An image is a
    uint8 tensor [height, width, channels] or the bytes of an encoded file as a string tensor; a
    label is an int64 scalar.
    """

    class_names: tuple[str, ...]
    num_examples: int
    channels: int
    skipped: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    files: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    class_counts: tuple[int, ...] | None = dataclasses.field(default=None, kw_only=True)
    notes: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    hints: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    def counts(self) -> np.ndarray:
        """Returns the number of images of each class, int64 [classes]; may read all of them."""
        if self.class_counts is not None:
            return np.array(self.class_counts)
        total = np.zeros(len(self.class_names), np.int64)
        labels = self.ordered().map(lambda image, label: label)
        for batch in labels.batch(_PREFETCHED).as_numpy_iterator():
            total += np.bincount(batch, minlength=len(total))
        return total

    def ordered(self, shard: Shard = WHOLE) -> tf.data.Dataset:
        """Returns (image, label) of every example in the shard once, in a fixed order."""
        raise NotImplementedError

    def shuffled(
        self, seed: int, start: int, shard: Shard = WHOLE, load: Callable = _as_it_is
    ) -> tf.data.Dataset:
        """Returns an endless stream of (position, visit, image, label) that starts at `start`.

        The position counts the examples of all workers since the run started; every epoch has
        another order. The visit is a number of the image that grows by one in each epoch. The
        example at a position depends only on the seed and the number of workers, so a run resumes
        exactly.

        Args:
          seed: of the order.
          start: a multiple of the shard's workers x length.
          shard: the examples of the stream to read.
          load: a graph function of (position, visit, image, label); the stream has its results
            instead. It is called in the step that reads, because a separate step would take as long
            as decoding a small image.
        """
        raise NotImplementedError


def file_reader(paths: Sequence[str]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a graph function from a path's number to the bytes of its file."""
    # As bytes, because a file's name may not be UTF-8.
    names = tf.constant([os.fsencode(path) for path in paths], tf.string)
    return lambda index: tf.io.read_file(tf.gather(names, index))


@dataclasses.dataclass(frozen=True)
class IndexedSource(Source):
    """Images that can be read by number: a stream can start anywhere at no cost.

    Args:
      read: a graph function from an int64 index to (image, label).
    """

    read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

    def ordered(self, shard: Shard = WHOLE) -> tf.data.Dataset:
        """See the base class."""
        return tf.data.Dataset.range(shard.size(self.num_examples)).map(
            lambda place: self.read(shard.position(place)), num_parallel_calls=tf.data.AUTOTUNE
        )

    def shuffled(
        self, seed: int, start: int, shard: Shard = WHOLE, load: Callable = _as_it_is
    ) -> tf.data.Dataset:
        """See the base class."""

        def read(place: tf.Tensor) -> tuple[tf.Tensor, ...]:
            position = shard.position(place)
            epoch, place = position // self.num_examples, position % self.num_examples
            index = tf.random.experimental.index_shuffle(
                place, seed=tf.stack([tf.constant(seed, tf.int64), epoch]),
                max_index=tf.constant(self.num_examples - 1, tf.int64),
            )  # fmt: skip
            return load(position, index + epoch, *self.read(index))

        return tf.data.Dataset.range(start // shard.workers, tf.int64.max).map(
            read, num_parallel_calls=tf.data.AUTOTUNE
        )


@dataclasses.dataclass(frozen=True)
class RecordSource(Source):
    """Images stored one after another in record files, too many to hold in memory.

    Each epoch reads the files in another order, one group of files at a time, and shuffles each
    group. So a stream starts at the group that contains its start, without reading what is before.
    If there are at least as many files as workers, each worker reads its own files, and the order
    depends on the number of workers. Otherwise each worker reads all files and skips the other
    workers' examples.

    Args:
      sizes: number of examples in each file.
      read: a graph function from a file's number, int64, to a data set of its (image, label).
    """

    sizes: tuple[int, ...]
    read: Callable[[tf.Tensor], tf.data.Dataset]

    def ordered(self, shard: Shard = WHOLE) -> tf.data.Dataset:
        """See the base class."""
        records = tf.data.Dataset.range(len(self.sizes)).flat_map(self.read)
        if shard.workers == 1:
            return records
        mine = records.enumerate().filter(lambda position, example: shard.holds(position))
        return mine.map(lambda position, example: example)

    def shuffled(
        self, seed: int, start: int, shard: Shard = WHOLE, load: Callable = _as_it_is
    ) -> tf.data.Dataset:
        """See the base class."""
        if len(self.sizes) < shard.workers:
            stream = self._stream(seed, start, 0, 1)
            stream = stream.filter(lambda position, *example: shard.holds(position))
            return stream.map(load, num_parallel_calls=tf.data.AUTOTUNE)
        stream = self._stream(seed, start // shard.workers, shard.worker, shard.workers)
        return stream.map(
            lambda place, *example: load(shard.position(place), *example),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def _stream(self, seed: int, start: int, reader: int, readers: int) -> tf.data.Dataset:
        """Returns (place, visit, image, label) from the files of one of several readers."""

        def groups(epoch: tf.Tensor) -> tf.data.Dataset:
            files = tf.data.Dataset.from_tensor_slices(self._files(seed, epoch, reader, readers))
            return files.batch(self._group_size()).map(lambda group: (epoch, group))

        epoch, group, rest = self._find(seed, start, reader, readers)
        stream = tf.data.Dataset.range(epoch, tf.int64.max).flat_map(groups).skip(group)
        stream = stream.flat_map(lambda epoch, files: self._group(seed, epoch, files))
        # While a group is being read into the shuffle buffer, the buffer returns nothing.
        stream = stream.skip(rest).enumerate(start).prefetch(_PREFETCHED)
        return stream.map(lambda place, example: (place, example[0], *example[1]))

    def _group_size(self) -> int:
        """Returns how many files fill the shuffle buffer."""
        return max(1, round(_SHUFFLE_BUFFER * len(self.sizes) / self.num_examples))

    def _files(self, seed: int, epoch: tf.Tensor, reader: int, readers: int) -> tf.Tensor:
        """Returns the numbers of a reader's files, in the epoch's order."""
        count = len(self.sizes)
        order = tf.random.experimental.index_shuffle(
            tf.range(count, dtype=tf.int64),
            seed=tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)]),
            max_index=tf.constant(count - 1, tf.int64),
        )
        return order[reader::readers]

    def _find(self, seed: int, start: int, reader: int, readers: int) -> tuple[int, int, int]:
        """Returns where a stream starts: the epoch, its group, and the place in the group."""
        sizes, epoch = np.array(self.sizes), 0
        while True:
            files = self._files(seed, tf.constant(epoch), reader, readers).numpy()
            ends = np.cumsum(sizes[files])
            if start < ends[-1]:
                break
            start, epoch = start - int(ends[-1]), epoch + 1
        step = self._group_size()
        # The last group of an epoch may be shorter.
        group_ends = np.append(ends[step - 1 :: step], ends[-1])
        group = int(np.searchsorted(group_ends, start, side="right"))
        return epoch, group, start - (int(group_ends[group - 1]) if group else 0)

    def _group(self, seed: int, epoch: tf.Tensor, files: tf.Tensor) -> tf.data.Dataset:
        """Returns a group's examples, shuffled, as (visit, (image, label))."""
        # A seed for this function only: a global seed would change the order, and a seed of 0
        # makes `shuffle` compare the group's seed, a tensor, with 0 in Python.
        tf.compat.v1.set_random_seed(_SEED_STRIDE)
        examples = tf.data.Dataset.from_tensor_slices(files).interleave(
            lambda file: self.read(file).enumerate(epoch),
            cycle_length=_FILES_AT_ONCE,
            num_parallel_calls=_FILES_AT_ONCE,
        )
        # One seed per epoch and group, so that an order does not depend on the ones before it.
        own = epoch * len(self.sizes) + files[0]
        return examples.shuffle(
            _SHUFFLE_BUFFER,
            seed=tf.constant(seed * _SEED_STRIDE, tf.int64) + own,
            reshuffle_each_iteration=False,
        )
