"""A folder of images, ROOT/SPLIT/CLASS/*.jpg or ROOT/CLASS/*.jpg."""

import dataclasses
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from common.cli import UserError
from trainers.data import verification
from trainers.data.listing import Classes, Listing, describe, list_splits
from trainers.data.sources import IndexedSource, Source, file_reader
from trainers.data.verification import NOTHING, file_status
from trainers.settings import DataConfig

_BATCH = 256
_CHANNELS = 3


def open_splits(
    config: DataConfig,
    splits: Sequence[str],
    workdir: str | Path | None,
    must_match: bool,
    check: Callable[[Sequence[str]], None],
) -> list[Source]:
    """Opens splits of an image folder, without the files that cannot be decoded.

    Args:
      config: where the folder is, and whether its files are verified.
      splits: in TFDS's notation.
      workdir, must_match: as in `datasets.load_sources`.
      check: called with the class names before any file is read; raises UserError if wrong.

    Raises:
      UserError: as in `open_folder`; or no such split, no image that can be decoded, or other
        files than before.
    """
    folder = open_folder(config.data_dir, splits, config.train_split, config.eval_split)
    check(folder.class_names)
    return [_open(folder, config, split, workdir, must_match) for split in splits]


def _open(
    folder: "ImageFolder",
    config: DataConfig,
    split: str,
    workdir: str | Path | None,
    must_match: bool,
) -> Source:
    paths, labels = folder.examples(split)
    statuses = [file_status(path) for path in paths]
    read = _reader(paths, statuses, config.cache_bytes)
    channels, findings = config.channels or _CHANNELS, NOTHING
    if config.verify_images:
        cache = verification.record_path(workdir, split)
        findings = verification.verify(paths, statuses, read, channels, cache, must_match)
    skip = set(findings.unreadable)
    good = [number for number, path in enumerate(paths) if path not in skip]
    counts = _class_counts(folder, split, labels, good)
    numbers, classes = tf.constant(good, tf.int64), tf.constant(labels, tf.int64)

    def read_good(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        number = tf.gather(numbers, index)
        return read(number), tf.gather(classes, number)

    return IndexedSource(
        class_names=folder.class_names,
        num_examples=len(good),
        channels=channels,
        read=read_good,
        skipped=tuple(findings.unreadable),
        files=tuple(paths[number] for number in good),
        class_counts=tuple(counts.values()),
        notes=(describe(split, counts), *folder.listing.notes(), *findings.notes(split)),
        hints=tuple(findings.hints(split, len(good), channels)),
    )


def _class_counts(
    folder: "ImageFolder", split: str, labels: Sequence[int], good: Sequence[int]
) -> dict[str, int]:
    """Returns how many images of each class can be decoded; refuses a class that has none."""
    counts = np.bincount([labels[number] for number in good], minlength=len(folder.class_names))
    for label in np.flatnonzero(counts == 0):
        if found := labels.count(label):
            raise UserError(
                f"none of the {found} images of class {folder.class_names[label]!r} in split "
                f"{split!r} of {folder.listing.root} can be decoded; check the files"
            )
    return dict(zip(folder.class_names, counts.tolist(), strict=True))


def _reader(
    paths: list[str], statuses: list[os.stat_result], cache_bytes: int
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from a path's number to the file's bytes, from memory if they all fit."""
    if sum(status.st_size for status in statuses) > cache_bytes:
        return file_reader(paths)
    data = tf.constant(contents(paths, statuses), tf.string)
    return lambda number: tf.gather(data, number)


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """An image folder whose splits can be sliced as TFDS slices them.

    Attributes:
      listing: its files.
      class_names: in the order of the labels.
    """

    listing: Listing
    class_names: tuple[str, ...]

    def examples(self, split: str) -> tuple[list[str], list[int]]:
        """Returns paths and labels of a split such as "train[:90%]".

        The files of a split are shuffled as TFDS's `ImageFolder` does, so a slice has all classes.

        Raises:
          UserError: no such split, or a slice that TFDS does not understand.
        """
        shuffled = {name: _shuffled(name, split) for name, split in self.listing.splits.items()}
        infos = tfds.core.SplitDict([
            tfds.core.SplitInfo(name=name, shard_lengths=[len(examples)], num_bytes=0)
            for name, examples in shuffled.items()
        ])  # fmt: skip
        try:
            ranges = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
        except (ValueError, NotImplementedError, AssertionError) as error:
            raise UserError(
                f"{self.listing.root} has no split {split!r} ({_first_line(error)}); "
                f"its splits are {', '.join(self.listing.names)}"
            ) from None
        chosen = [
            example for part in ranges for example in shuffled[part.splitname][part.from_ : part.to]
        ]
        labels = {name: label for label, name in enumerate(self.class_names)}
        return [path for path, _ in chosen], [labels[name] for _, name in chosen]


def _shuffled(name: str, split: Classes) -> list[tuple[str, str]]:
    """Returns (path, class) of a split's images in TFDS's order."""
    examples = [(path, label) for label in sorted(split) for path in split[label]]
    random.Random(name).shuffle(examples)
    return examples


def open_folder(
    root: str, splits: Sequence[str] = (), train: str = "train", test: str = "test"
) -> ImageFolder:
    """Lists and checks the splits in use of the image folder at `root`.

    Args:
      root: of the folder.
      splits: in TFDS's notation; only these and the next two are looked at.
      train, test: the training's and the evaluation's.

    Raises:
      UserError: no such folder, no images in the expected places, or the splits' classes differ.
    """
    root = str(Path(root).expanduser())
    if not Path(root).is_dir():
        raise UserError(f"image folder {root} does not exist; check --data_dir")
    used = [name for split in (*splits, train, test) for name in _names(split)]
    listing = list_splits(root, used, _names(train)[0], _names(test)[0])
    names = sorted({name for split in listing.splits.values() for name in split})
    _check_classes(listing, names)
    return ImageFolder(listing, tuple(names))


def _names(split: str) -> list[str]:
    """Returns the splits of a text such as "train[:90%]+test"."""
    return [part.partition("[")[0].strip() for part in split.split("+")]


def _check_classes(listing: Listing, names: Sequence[str]) -> None:
    for split, classes in listing.splits.items():
        missing = [name for name in names if not classes.get(name)]
        if missing:
            state = "has no image" if missing[0] in classes else "is missing"
            raise UserError(
                f"class {missing[0]!r} of split {split!r} {state} in {listing.root}; every split "
                f"needs images of all {len(names)} classes: add some or remove the class"
            )


def contents(paths: Sequence[str], statuses: Sequence[os.stat_result]) -> list[bytes]:
    """Returns the contents of files; empty for a file that cannot be read.

    Args:
      paths: of small files.
      statuses: their `verification.file_status`.
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


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
