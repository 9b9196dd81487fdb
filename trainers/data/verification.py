"""Decodes image files once: finds those that cannot be, and what a user should know of the rest."""

import dataclasses
import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from common import files
from common.cli import UserError
from common.console.progress import Progress
from common.storage.readers import read_json

_DECODED_AT_ONCE = 64
_RECORD = "unreadable-"
# The cache file lists every skipped file; the screen shows only the first ones.
_MAX_WARNINGS = 20
# A PNG's header: its name, its sizes, and after these the bits of a value.
_PNG, _BITS_AT = b"\x89PNG", 24
_FULL_SCALE = 2**16 - 1
# 16 bits that hold at most 14: nothing is brighter than a quarter.
_DIM = 2**14
# Whether a picture is grey shows in some of its pixels.
_STEP = 8


@dataclasses.dataclass(frozen=True)
class Findings:
    """What decoding every file once has shown.

    Attributes:
      unreadable: files that cannot be decoded.
      grey: number of images without colour.
      deep: number of PNGs with 16 bits a value.
      peak: the largest value in those, 0 to 65535.
    """

    unreadable: tuple[str, ...] = ()
    grey: int = 0
    deep: int = 0
    peak: int = _FULL_SCALE

    def hints(self, split: str, images: int, channels: int) -> list[str]:
        """Returns advice for training on a split: this many images, decoded to so many channels."""
        if channels == 3 and 0 < self.grey == images:
            return [
                f"all {images} images of split {split!r} are grey; --channels=1 trains a network "
                "with one input channel, which is smaller and faster"
            ]
        return []

    def notes(self, split: str) -> list[str]:
        """Returns lines that the user of a split should read, whatever it is used for."""
        lines = []
        if self.unreadable:
            count = len(self.unreadable)
            lines.append(f"skipped in split {split!r}: {count} that cannot be decoded")
        if self.deep and self.peak < _DIM:
            lines.append(
                f"warning: {self.deep} PNGs of split {split!r} have 16 bits a value, but none is "
                f"above {self.peak} of {_FULL_SCALE}, so they are nearly black; multiply them by "
                f"{_FULL_SCALE // max(self.peak, 1)}, or save them with 8 bits"
            )
        return lines


NOTHING = Findings()


def verify(
    paths: Sequence[str],
    statuses: Sequence[os.stat_result],
    read: Callable[[tf.Tensor], tf.Tensor],
    channels: int,
    cache: Path | None = None,
    must_match: bool = False,
    labels: Iterable[str] = (),
) -> Findings:
    """Decodes every file once.

    Args:
      paths: image files.
      statuses: their `file_status`.
      read: a graph function from the number of a path to the bytes of its file.
      channels: 1 or 3.
      cache: JSON file that keeps the result as long as the files do not change; None: none. One
        that was written for other files stays.
      must_match: reject files other than those that `cache` was written for.
      labels: what else must stay of each file, if its folder does not say it.

    Raises:
      UserError: with `must_match`, files were added, removed, replaced, damaged or repaired.
    """
    digest = _hash(labels)
    stamp = _stamp(paths, statuses, digest)
    known = _known(cache) if cache and cache.exists() else None
    if known and known["stamp"] == stamp:
        return _findings(known)
    facts = _facts(len(paths), read, channels)
    bad = [path for path, size in zip(paths, facts[:, 0], strict=True) if not size]
    peaks = _peaks(sorted(set(paths).difference(bad)))
    seen = {"grey": int(facts[:, 1].sum()), "deep": len(peaks), "peak": max(peaks, default=0)}
    record = {
        "stamp": stamp,
        "contents": _contents(paths, statuses, digest),
        "files": len(paths),
        "unreadable": bad,
        **seen,
    }
    is_other = known is not None and _is_other(known, record)
    if is_other and must_match:
        raise UserError(
            f"the images of this run have changed: {cache.name} lists {known['files']} files, "
            f"{len(known['unreadable'])} of them unreadable, but now there are {len(paths)} and "
            f"{len(bad)}, or some have other names, sizes or labels; restore them, or train in "
            "a new --workdir"
        )
    _warn(bad)
    # A training compares with what it has recorded, whatever else was evaluated since.
    if cache and cache.parent.is_dir() and not is_other:
        _keep(cache, record)
    return _findings(record)


def forget(workdir: str | os.PathLike) -> None:
    """Deletes what was found for a training that never began, before another begins there."""
    for record in Path(workdir).glob(f"{_RECORD}*.json"):
        record.unlink()


def record_path(workdir: str | os.PathLike | None, split: str) -> Path | None:
    """Returns the `cache` of a split in a training's folder; None without one."""
    name = f"{_RECORD}{re.sub(r'[^0-9A-Za-z]+', '-', split)}.json"
    return Path(workdir) / name if workdir else None


def _keep(cache: Path, record: Mapping[str, Any]) -> None:
    try:
        files.write_json(cache, record)
    except OSError as error:
        # A folder of which nothing but its model is needed may be read-only.
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise


def _findings(record: Mapping[str, Any]) -> Findings:
    # Older records only list unreadable files.
    known = {name: record[name] for name in ("grey", "deep", "peak") if name in record}
    return Findings(tuple(record["unreadable"]), **known)


def _is_other(known: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Returns whether a record is of other images than an earlier one, wherever they are."""
    # Older records say nothing of contents.
    same = known.get("contents", record["contents"]) == record["contents"]
    earlier, now = (_places(one["unreadable"], one["files"]) for one in (known, record))
    return not same or earlier != now


def _places(bad: Sequence[str], count: int) -> tuple[int, list[str]]:
    """Returns what must stay; data that has moved has the same FOLDER/FILE elsewhere."""
    return count, [_place(path) for path in bad]


def _place(path: str) -> str:
    return "/".join(Path(path).parts[-2:])


def _known(cache: Path) -> dict | None:
    """Returns what an earlier run found; None if the file is damaged: the images decide."""
    try:
        known = read_json(cache, "remove it")
        paths = known["unreadable"]
        if (
            type(known["files"]) is int
            and isinstance(known["stamp"], str)
            and all(isinstance(path, str) for path in paths)
        ):
            return known
    except (OSError, UserError, KeyError, TypeError):
        pass
    logging.warning("%s is damaged: the images are verified again", cache)
    return None


def _warn(bad: Sequence[str]) -> None:
    for path in bad[:_MAX_WARNINGS]:
        logging.warning("skipping %s: it cannot be decoded", path)
    if len(bad) > _MAX_WARNINGS:
        logging.warning("… and %d more", len(bad) - _MAX_WARNINGS)


@tf.autograph.experimental.do_not_convert
def _facts(count: int, read: Callable[[tf.Tensor], tf.Tensor], channels: int) -> np.ndarray:
    """Returns `_look`'s two numbers for each file; zeros for one that cannot be decoded.

    tf.data does the work in C++, on all cores.
    """
    # Traced once, though there is a call for each image of a batch: a loop takes 1.5 times as long.
    look = tf.function(lambda index: _look(read(index), channels), autograph=False)
    look = look.get_concrete_function(tf.TensorSpec([], tf.int64))

    def look_at_all(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return indices, tf.stack([look(index) for index in tf.unstack(indices)])

    facts = np.zeros((count, 2), np.int64)
    with Progress("verifying", total=count, unit="image") as progress:
        # Many at a time, which is faster; then one by one the images of a batch with a bad one.
        for size in (_DECODED_AT_ONCE, 1):
            left = np.flatnonzero(facts[:, 0] == 0)
            if not left.size:
                break
            # The last one is repeated until all rows are equally long, because there is no loop.
            left = np.pad(left, (0, -len(left) % size), mode="edge").reshape(-1, size)
            looked = tf.data.Dataset.from_tensor_slices(left).map(
                look_at_all, num_parallel_calls=tf.data.AUTOTUNE
            )
            for batch, found in looked.ignore_errors().as_numpy_iterator():
                facts[batch] = found
                progress.update(int(np.count_nonzero(facts[:, 0])))
    return facts


def _look(file: tf.Tensor, channels: int) -> tf.Tensor:
    """Decodes a file; returns its size and whether it is grey."""
    # Not as it will be decoded, with a branch for each kind of file: that takes seconds to trace.
    image = tf.io.decode_image(file, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    # Without a result that depends on the pixels, TensorFlow would not decode them.
    sample = image[::_STEP, ::_STEP]
    is_grey = tf.reduce_all(sample == sample[..., :1])
    size = tf.size(image, tf.int64)
    if channels == 1:
        size = tf.where(_is_cmyk(file), tf.constant(0, tf.int64), size)
    return tf.stack([size, tf.cast(is_grey, tf.int64)])


def _is_cmyk(file: tf.Tensor) -> tf.Tensor:
    """Returns whether a file is a JPEG of four inks, which TensorFlow does not convert to grey."""
    is_jpeg = tf.io.is_jpeg(file)
    return tf.cond(
        is_jpeg, lambda: tf.io.extract_jpeg_shape(file)[2] == 4, lambda: tf.constant(False)
    )


def _peaks(paths: Iterable[str]) -> list[int]:
    """Returns the largest value of each PNG with 16 bits a value."""
    peaks = []
    for path in paths:
        if path.lower().endswith(".png"):
            with Path(path).open("rb") as file:
                head = file.read(_BITS_AT + 1)
                if head.startswith(_PNG) and head[_BITS_AT] == 16:
                    image = tf.io.decode_png(head + file.read(), channels=3, dtype=tf.uint16)
                    peaks.append(int(image.numpy().max()))
    return peaks


def file_status(path: str) -> os.stat_result:
    """Returns a file's size and times."""
    # Making a Path for each of 50,000 files takes longer than the calls themselves.
    return os.stat(path)  # noqa: PTH116


def _stamp(paths: Sequence[str], statuses: Sequence[os.stat_result], labels: str) -> str:
    """Returns a hash of names, sizes and times: if it is the same, so are the files."""
    pairs = zip(paths, statuses, strict=True)
    lines = (f"{path}\0{status.st_size}\0{status.st_mtime_ns}" for path, status in pairs)
    return _hash([*lines, labels])


def _contents(paths: Sequence[str], statuses: Sequence[os.stat_result], labels: str) -> str:
    """Returns a hash of what stays when data moves: folders, names and sizes."""
    pairs = zip(paths, statuses, strict=True)
    return _hash([*(f"{_place(path)}\0{status.st_size}" for path, status in pairs), labels])


def _hash(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        # A file's name may not be UTF-8.
        digest.update(f"{line}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
