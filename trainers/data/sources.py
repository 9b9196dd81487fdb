"""The two ways of reading images: any one by its number, or one after the other."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

_SHUFFLE_BUFFER = 10_000
# Undecoded images that are read ahead; ImageNet's are 110 kB each.
_PREFETCHED = 1_000
_FILES_AT_ONCE = 4
# Keeps the epochs of one seed apart from those of the next.
_SEED_STRIDE = 1_000_003


def _as_it_is(*example: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return example


@dataclasses.dataclass(frozen=True)
class Part:
    """Which examples of a stream are read here: of every workers x length, those of one worker.

    Args:
      worker: this one, counted from 0.
      workers: how many share the stream.
      length: consecutive examples that a worker takes, its share of a batch.

    Examples:
      >>> [Part(worker=1, workers=2, length=3).position(n) for n in range(4)]
      [3, 4, 5, 9]
    """

    worker: int = 0
    workers: int = 1
    length: int = 1

    def position(self, place: tf.Tensor) -> tf.Tensor:
        """Returns the place in the whole stream of a place in this part, both from 0."""
        block = place // self.length * self.workers + self.worker
        return block * self.length + place % self.length

    def holds(self, position: tf.Tensor) -> tf.Tensor:
        """Returns whether a place in the whole stream is in this part."""
        return position // self.length % self.workers == self.worker

    def size(self, total: int) -> int:
        """Returns how many of the first `total` examples of the stream are in this part."""
        blocks, rest = divmod(total, self.workers * self.length)
        return blocks * self.length + min(max(rest - self.worker * self.length, 0), self.length)


WHOLE = Part()


@dataclasses.dataclass(frozen=True)
class Source:
    """The images of one split, decoded or not, with their labels.

    Args:
      class_names: in the order of the labels.
      num_examples: images in the split.
      channels: 1 or 3, of the decoded images.
      skipped: files that are left out because they cannot be decoded.

    Both streams are deterministic, and each worker can read its part of them alone. An image is
    a uint8 tensor [height, width, channels] or the bytes of an encoded file as a string tensor;
    a label is an int64 scalar.
    """

    class_names: tuple[str, ...]
    num_examples: int
    channels: int
    skipped: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    def ordered(self, part: Part = WHOLE) -> tf.data.Dataset:
        """Returns (image, label) of every example of the part once, in a fixed order."""
        raise NotImplementedError

    def shuffled(
        self, seed: int, start: int, part: Part = WHOLE, load: Callable = _as_it_is
    ) -> tf.data.Dataset:
        """Returns an endless stream of (position, visit, image, label) that begins at `start`.

        The position counts examples since the run began, on all workers; every epoch has its own
        order. The visit is a number of the image's own that grows by one in each epoch. What
        stands at a position depends on the seed and the number of workers alone, so that a run
        resumes exactly.

        Args:
          seed: of the order.
          start: a multiple of the part's workers x length.
          part: what of the stream is read here.
          load: a graph function of (position, visit, image, label) whose result the stream has
            instead. It is called in the step that reads; a step of its own takes as long as a small
            image takes to be decoded.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class IndexedSource(Source):
    """Images that can be read by number: a stream can begin anywhere at no cost.

    Args:
      read: a graph function from an int64 index to (image, label).
    """

    read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

    def ordered(self, part: Part = WHOLE) -> tf.data.Dataset:
        """See the base class."""
        return tf.data.Dataset.range(part.size(self.num_examples)).map(
            lambda place: self.read(part.position(place)), num_parallel_calls=tf.data.AUTOTUNE
        )

    def shuffled(
        self, seed: int, start: int, part: Part = WHOLE, load: Callable = _as_it_is
    ) -> tf.data.Dataset:
        """See the base class."""

        def read(place: tf.Tensor) -> tuple[tf.Tensor, ...]:
            position = part.position(place)
            epoch, place = position // self.num_examples, position % self.num_examples
            index = tf.random.experimental.index_shuffle(
                place, seed=tf.stack([tf.constant(seed, tf.int64), epoch]),
                max_index=tf.constant(self.num_examples - 1, tf.int64),
            )  # fmt: skip
            return load(position, index + epoch, *self.read(index))

        return tf.data.Dataset.range(start // part.workers, tf.int64.max).map(
            read, num_parallel_calls=tf.data.AUTOTUNE
        )


@dataclasses.dataclass(frozen=True)
class RecordSource(Source):
    """Images that lie one behind the other in record files, too many to hold in memory.

    An epoch reads the files in an order of its own, a group of files at a time, and shuffles each
    group. So a stream begins at the group that its start lies in, without reading what is before.
    Of at least as many files as workers each worker reads its own; then the order depends on the
    number of workers. Of fewer files each worker reads all and leaves out the others' examples.

    Args:
      sizes: examples of each file.
      read: a graph function from a file's number, int64, to a data set of its (image, label).
    """

    sizes: tuple[int, ...]
    read: Callable[[tf.Tensor], tf.data.Dataset]

    def ordered(self, part: Part = WHOLE) -> tf.data.Dataset:
        """See the base class."""
        records = tf.data.Dataset.range(len(self.sizes)).flat_map(self.read)
        if part.workers == 1:
            return records
        mine = records.enumerate().filter(lambda position, example: part.holds(position))
        return mine.map(lambda position, example: example)

    def shuffled(
        self, seed: int, start: int, part: Part = WHOLE, load: Callable = _as_it_is
    ) -> tf.data.Dataset:
        """See the base class."""
        if len(self.sizes) < part.workers:
            stream = self._stream(seed, start, 0, 1)
            stream = stream.filter(lambda position, *example: part.holds(position))
            return stream.map(load, num_parallel_calls=tf.data.AUTOTUNE)
        stream = self._stream(seed, start // part.workers, part.worker, part.workers)
        return stream.map(
            lambda place, *example: load(part.position(place), *example),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def _stream(self, seed: int, start: int, reader: int, readers: int) -> tf.data.Dataset:
        """Returns (place, visit, image, label) of the files of one of several readers."""

        def groups(epoch: tf.Tensor) -> tf.data.Dataset:
            files = tf.data.Dataset.from_tensor_slices(self._files(seed, epoch, reader, readers))
            return files.batch(self._group_size()).map(lambda group: (epoch, group))

        epoch, group, rest = self._find(seed, start, reader, readers)
        stream = tf.data.Dataset.range(epoch, tf.int64.max).flat_map(groups).skip(group)
        stream = stream.flat_map(lambda epoch, files: self._group(seed, epoch, files))
        # While a group is read into the shuffle's buffer, nothing comes out of it.
        stream = stream.skip(rest).enumerate(start).prefetch(_PREFETCHED)
        return stream.map(lambda place, example: (place, example[0], *example[1]))

    def _group_size(self) -> int:
        """Returns how many files fill the shuffle's buffer."""
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
        """Returns the epoch, the group in it and the place in that where a stream begins."""
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
        # This function's own seed: a global seed would change the order, and one of 0 makes
        # `shuffle` compare the group's, a tensor, with 0 in Python.
        tf.compat.v1.set_random_seed(_SEED_STRIDE)
        examples = tf.data.Dataset.from_tensor_slices(files).interleave(
            lambda file: self.read(file).enumerate(epoch),
            cycle_length=_FILES_AT_ONCE,
            num_parallel_calls=_FILES_AT_ONCE,
        )
        # One seed per epoch and group: an order is known without playing those before.
        own = epoch * len(self.sizes) + files[0]
        return examples.shuffle(
            _SHUFFLE_BUFFER,
            seed=tf.constant(seed * _SEED_STRIDE, tf.int64) + own,
            reshuffle_each_iteration=False,
        )
