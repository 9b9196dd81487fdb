"""A folder of images, ROOT/SPLIT/CLASS/*.jpg, as `tfds.ImageFolder` knows it."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from common import files
from common.cli import UserError
from common.progress import Progress

_LAYOUT = "expected ROOT/SPLIT/CLASS/*.jpg (or .jpeg, .png), such as ROOT/train/cat/1.jpg"
_BATCH = 256
_DECODED_AT_ONCE = 64
# Every file that is left out is in the cache file; the screen shows the first ones.
_MAX_WARNINGS = 20


class SlicedImageFolder(tfds.ImageFolder):
    """`tfds.ImageFolder` with slices of splits, giving files instead of decoded images."""

    def examples(self, split: str) -> tuple[list[str], list[int]]:
        """Returns paths and labels of a split such as "train[:90%]".

        TFDS shuffles the files of a split by a fixed seed, so that a slice has all classes.

        Raises:
          UserError: no such split, or a slice that TFDS does not understand.
        """
        try:
            ranges = tfds.core.ReadInstruction.from_spec(split).to_absolute(self.info.splits)
        except (ValueError, NotImplementedError) as error:
            raise UserError(
                f"{self.data_dir} has no split {split!r} ({_first_line(error)}); "
                f"its splits are {', '.join(self.info.splits)}"
            ) from None
        chosen = [
            example
            for part in ranges
            for example in self._split_examples[part.splitname][part.from_ : part.to]
        ]
        to_label = self.info.features["label"].str2int
        return [e.image_path for e in chosen], [to_label(e.label) for e in chosen]

    def check_classes(self) -> None:
        """Refuses classes without images, and splits whose classes differ.

        Raises:
          UserError: names the split and the class.
        """
        names = self.info.features["label"].names
        for split, examples in self._split_examples.items():
            missing = sorted(set(names) - {example.label for example in examples})
            if missing:
                folder = Path(self.data_dir) / split / missing[0]
                state = "has no image" if folder.is_dir() else "is missing"
                raise UserError(
                    f"class {missing[0]!r} of split {split!r} {state} ({folder}); every split "
                    f"needs images of all {len(names)} classes: add some or remove the class"
                )


def open_folder(root: str) -> SlicedImageFolder:
    """Returns the image folder at `root`, after checks that name what is wrong.

    Raises:
      UserError: no such folder, no images where they are expected, or differing classes.
    """
    if not Path(root).is_dir():
        raise UserError(f"image folder {root} does not exist; check --data_dir")
    builder = SlicedImageFolder(root)
    if not builder.info.splits or not any(s.num_examples for s in builder.info.splits.values()):
        raise UserError(f"image folder {root} has no images; {_LAYOUT}")
    builder.check_classes()
    return builder


def contents(paths: Sequence[str], statuses: Sequence[os.stat_result]) -> list[bytes]:
    """Returns what is in files, nothing for one that cannot be read.

    Args:
      paths: of small files.
      statuses: their `file_status`.
    """
    sized = [(path, status.st_size) for path, status in zip(paths, statuses, strict=True)]
    chunks = [sized[start : start + _BATCH] for start in range(0, len(sized), _BATCH)]
    # Python takes less CPU time for small files than tf.data. A thread can wait for the disk while
    # the other works; more of them would wait for each other.
    with ThreadPoolExecutor(2) as threads:
        return [data for chunk in threads.map(_contents, chunks) for data in chunk]


def _contents(sized: Sequence[tuple[str, int]]) -> list[bytes]:
    found = []
    for path, size in sized:
        try:
            # Python's own files take three times as long: they ask for the size, and for the end.
            descriptor = os.open(path, os.O_RDONLY)
            try:
                found.append(os.read(descriptor, size))
            finally:
                os.close(descriptor)
        except OSError:
            found.append(b"")
    return found


def unreadable(
    paths: Sequence[str],
    statuses: Sequence[os.stat_result],
    read: Callable[[tf.Tensor], tf.Tensor],
    channels: int,
    cache: Path,
    must_match: bool = False,
) -> list[str]:
    """Decodes every file once and returns those that cannot be decoded.

    Args:
      paths: image files.
      statuses: their `file_status`.
      read: a graph function from the number of a path to the bytes of its file.
      channels: 1 or 3.
      cache: JSON file that remembers the answer while the files stay as they are.
      must_match: refuse files other than those that `cache` was written for.

    Raises:
      UserError: `must_match`, and files have come, gone, broken or been mended.
    """
    stamp = _stamp(paths, statuses)
    known = json.loads(cache.read_text(encoding="utf-8")) if cache.exists() else None
    if known and known["stamp"] == stamp:
        return known["unreadable"]
    readable = _readable(len(paths), read, channels)
    bad = [path for path, good in zip(paths, readable, strict=True) if not good]
    record = {"stamp": stamp, "files": len(paths), "unreadable": bad}
    if must_match and known and (known["files"], known["unreadable"]) != (len(paths), bad):
        raise UserError(
            f"the images of this run have changed: {cache.name} knows {known['files']} files, "
            f"{len(known['unreadable'])} of them unreadable, now there are {len(paths)} and "
            f"{len(bad)}; restore them, or train in a new --workdir"
        )
    _warn(bad)
    if cache.parent.is_dir():
        files.write_json(cache, record)
    return bad


def _warn(bad: Sequence[str]) -> None:
    for path in bad[:_MAX_WARNINGS]:
        logging.warning("skipping %s: it cannot be decoded", path)
    if len(bad) > _MAX_WARNINGS:
        logging.warning("… and %d more", len(bad) - _MAX_WARNINGS)


@tf.autograph.experimental.do_not_convert
def _readable(count: int, read: Callable[[tf.Tensor], tf.Tensor], channels: int) -> np.ndarray:
    """Returns a bool per file. tf.data does the work in C++, on all cores."""

    def check(index: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(read(index), channels=channels, expand_animations=False)
        # The size is asked for because what nothing depends on is pruned, and never decoded.
        return tf.size(image)

    def check_all(indices: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        # Each an operator of its own: a loop takes half as long again.
        return indices, [check(index) for index in tf.unstack(indices)]

    good = np.zeros(count, bool)
    with Progress("verifying", total=count, unit="image") as progress:
        # Many at a time, which is faster; then, alone, those that had a bad one among them.
        for size in (_DECODED_AT_ONCE, 1):
            if good.all():
                break
            left = np.flatnonzero(~good)
            # The last one again and again, until all rows are as long: operators have no loop.
            left = np.pad(left, (0, -len(left) % size), mode="edge").reshape(-1, size)
            checked = tf.data.Dataset.from_tensor_slices(left).map(
                check_all, num_parallel_calls=tf.data.AUTOTUNE
            )
            for batch, *_ in checked.ignore_errors().as_numpy_iterator():
                good[batch] = True
                progress.update(int(np.count_nonzero(good)))
    return good


def _stamp(paths: Sequence[str], statuses: Sequence[os.stat_result]) -> str:
    """Returns a hash of names, sizes and times: when it is the same, so are the files."""
    digest = hashlib.sha256()
    for path, status in zip(paths, statuses, strict=True):
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def file_status(path: str) -> os.stat_result:
    """Returns a file's size and times."""
    # A Path for each of 50,000 files takes longer than asking for them.
    return os.stat(path)  # noqa: PTH116


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
