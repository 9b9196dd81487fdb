"""A folder of images, ROOT/SPLIT/CLASS/*.jpg, as `tfds.ImageFolder` reads it."""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds

from common.cli import UserError
from trainers.data import verification
from trainers.data.sources import IndexedSource, Source
from trainers.settings import DataConfig

_LAYOUT = "expected ROOT/SPLIT/CLASS/*.jpg (or .jpeg, .png), such as ROOT/train/cat/1.jpg"
_BATCH = 256
_CHANNELS = 3


def open_splits(
    config: DataConfig, splits: Sequence[str], workdir: str | Path | None, must_match: bool
) -> list[Source]:
    """Opens splits of an image folder, without the files that cannot be decoded.

    Args:
      config: where the folder is, and whether its files are verified.
      splits: in TFDS's notation.
      workdir, must_match: as in `datasets.load_sources`.

    Raises:
      UserError: as in `open_folder`; or no such split, no image that can be decoded, or other
        files than before.
    """
    folder = open_folder(config.data_dir)
    return [_open(folder, config, split, workdir, must_match) for split in splits]


def _open(
    folder: "SlicedImageFolder",
    config: DataConfig,
    split: str,
    workdir: str | Path | None,
    must_match: bool,
) -> Source:
    paths, labels = folder.examples(split)
    statuses = [file_status(path) for path in paths]
    read = _reader(paths, statuses, config.cache_bytes)
    bad: list[str] = []
    if config.verify_images:
        name = f"unreadable-{re.sub(r'[^0-9A-Za-z]+', '-', split)}.json"
        cache = Path(workdir) / name if workdir else None
        bad = verification.unreadable(paths, statuses, read, _CHANNELS, cache, must_match)
    skip = set(bad)
    good = [number for number, path in enumerate(paths) if path not in skip]
    if paths and not good:
        raise UserError(
            f"none of the {len(paths)} images of split {split!r} in {config.data_dir} can be "
            "decoded; check the files"
        )
    numbers, classes = tf.constant(good, tf.int64), tf.constant(labels, tf.int64)

    def read_good(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        number = tf.gather(numbers, index)
        return read(number), tf.gather(classes, number)

    return IndexedSource(
        class_names=tuple(folder.info.features["label"].names),
        num_examples=len(good),
        channels=_CHANNELS,
        read=read_good,
        skipped=tuple(bad),
        files=tuple(paths[number] for number in good),
    )


def _reader(
    paths: list[str], statuses: list[os.stat_result], cache_bytes: int
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from a path's number to the file's bytes, from memory if they all fit."""
    if sum(status.st_size for status in statuses) > cache_bytes:
        names = tf.constant(paths, tf.string)
        return lambda number: tf.io.read_file(tf.gather(names, number))
    data = tf.constant(contents(paths, statuses), tf.string)
    return lambda number: tf.gather(data, number)


class SlicedImageFolder(tfds.ImageFolder):
    """`tfds.ImageFolder` with slices of splits; gives files instead of decoded images."""

    def examples(self, split: str) -> tuple[list[str], list[int]]:
        """Returns paths and labels of a split such as "train[:90%]".

        TFDS shuffles the files of a split with a fixed seed, so a slice has all classes.

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
        """Checks that every split has images of every class.

        Raises:
          UserError: a class has no image, or is missing; the message names the split and the class.
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
    """Checks the image folder at `root` and returns it.

    Raises:
      UserError: no such folder, no images in the expected places, or the splits' classes differ.
    """
    if not Path(root).is_dir():
        raise UserError(f"image folder {root} does not exist; check --data_dir")
    builder = SlicedImageFolder(root)
    if not builder.info.splits or not any(s.num_examples for s in builder.info.splits.values()):
        raise UserError(f"image folder {root} has no images; {_LAYOUT}")
    builder.check_classes()
    return builder


def contents(paths: Sequence[str], statuses: Sequence[os.stat_result]) -> list[bytes]:
    """Returns the contents of files; empty for a file that cannot be read.

    Args:
      paths: of small files.
      statuses: their `file_status`.
    """
    sized = [(path, status.st_size) for path, status in zip(paths, statuses, strict=True)]
    chunks = [sized[start : start + _BATCH] for start in range(0, len(sized), _BATCH)]
    # Python needs less CPU time for small files than tf.data. One thread can wait for the disk
    # while the other works; more threads would wait for each other.
    with ThreadPoolExecutor(2) as threads:
        return [data for chunk in threads.map(_contents, chunks) for data in chunk]


def _contents(sized: Sequence[tuple[str, int]]) -> list[bytes]:
    found = []
    for path, size in sized:
        try:
            # Python's file objects take three times as long, because they also ask for the size and
            # read until the end.
            descriptor = os.open(path, os.O_RDONLY)
            try:
                found.append(os.read(descriptor, size))
            finally:
                os.close(descriptor)
        except OSError:
            found.append(b"")
    return found


def file_status(path: str) -> os.stat_result:
    """Returns a file's size and times."""
    # Making a Path for each of 50,000 files takes longer than the calls themselves.
    return os.stat(path)  # noqa: PTH116


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
