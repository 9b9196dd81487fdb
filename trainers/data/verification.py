"""Finds image files that cannot be decoded, names them and records them."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

from common import files
from common.cli import UserError
from common.progress import Progress
from common.storage.readers import read_json

_DECODED_AT_ONCE = 64
# The cache file lists every skipped file; the screen shows only the first ones.
_MAX_WARNINGS = 20


def unreadable(
    paths: Sequence[str],
    statuses: Sequence[os.stat_result],
    read: Callable[[tf.Tensor], tf.Tensor],
    channels: int,
    cache: Path | None = None,
    must_match: bool = False,
) -> list[str]:
    """Decodes every file once and returns those that cannot be decoded.

    Args:
      paths: image files.
      statuses: their `folder.file_status`.
      read: a graph function from the number of a path to the bytes of its file.
      channels: 1 or 3.
      cache: JSON file that keeps the result as long as the files do not change; None: none.
      must_match: reject files other than those that `cache` was written for.

    Raises:
      UserError: with `must_match`, files were added, removed, damaged or repaired.
    """
    stamp = _stamp(paths, statuses)
    known = _known(cache) if cache and cache.exists() else None
    if known and known["stamp"] == stamp:
        return known["unreadable"]
    readable = _readable(len(paths), read, channels)
    bad = [path for path, good in zip(paths, readable, strict=True) if not good]
    record = {"stamp": stamp, "files": len(paths), "unreadable": bad}
    if must_match and known and (known["files"], known["unreadable"]) != (len(paths), bad):
        raise UserError(
            f"the images of this run have changed: {cache.name} lists {known['files']} files, "
            f"{len(known['unreadable'])} of them unreadable, but now there are {len(paths)} and "
            f"{len(bad)}; restore them, or train in a new --workdir"
        )
    _warn(bad)
    if cache and cache.parent.is_dir():
        files.write_json(cache, record)
    return bad


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
def _readable(count: int, read: Callable[[tf.Tensor], tf.Tensor], channels: int) -> np.ndarray:
    """Returns a bool for each file. tf.data does the work in C++, on all cores."""

    def check(index: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(read(index), channels=channels, expand_animations=False)
        # TensorFlow prunes operators whose results are not used: without the size, nothing would
        # be decoded.
        return tf.size(image)

    def check_all(indices: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        # One operator for each image: a loop takes 1.5 times as long.
        return indices, [check(index) for index in tf.unstack(indices)]

    good = np.zeros(count, bool)
    with Progress("verifying", total=count, unit="image") as progress:
        # Many at a time, which is faster; then one by one the images of a batch with a bad one.
        for size in (_DECODED_AT_ONCE, 1):
            if good.all():
                break
            left = np.flatnonzero(~good)
            # The last one is repeated until all rows are equally long, because there is no loop.
            left = np.pad(left, (0, -len(left) % size), mode="edge").reshape(-1, size)
            checked = tf.data.Dataset.from_tensor_slices(left).map(
                check_all, num_parallel_calls=tf.data.AUTOTUNE
            )
            for batch, *_ in checked.ignore_errors().as_numpy_iterator():
                good[batch] = True
                progress.update(int(np.count_nonzero(good)))
    return good


def _stamp(paths: Sequence[str], statuses: Sequence[os.stat_result]) -> str:
    """Returns a hash of names, sizes and times: if it is the same, so are the files."""
    digest = hashlib.sha256()
    for path, status in zip(paths, statuses, strict=True):
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
