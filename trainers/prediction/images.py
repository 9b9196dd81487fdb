"""Finds images in folders and reads them one by one, also where some cannot be read."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.cli import UserError
from trainers.data.listing import SUFFIXES, is_hidden

if TYPE_CHECKING:
    import tensorflow as tf

_THREADS = 4
# Images that are read at once, and then classified together.
BATCH = 32

# A file and its pixels, or the reason why it has none.
Read = tuple[Path, np.ndarray | str]


def find_images(paths: Sequence[str]) -> list[Path]:
    """Returns the files named, and those in the folders named, at any depth.

    In folders, files of other kinds than `SUFFIXES` and what is hidden are no images.

    Raises:
      UserError: a path does not exist, or there is no file at all.
      OSError: a folder cannot be listed.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += _in_folder(path)
        # A link that leads nowhere is a file that cannot be read, like those in a folder.
        elif path.exists() or path.is_symlink():
            found.append(path)
        else:
            raise UserError(f"{path} does not exist; check the path")
    if not found:
        raise UserError(
            f"there is no image ({', '.join(SUFFIXES)}) in {', '.join(map(str, paths))}; "
            "name files or other folders"
        )
    return found


def _in_folder(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        found += [
            Path(place, name)
            for name in sorted(names)
            if not is_hidden(name) and name.lower().endswith(SUFFIXES)
        ]
    return found


def _raise(error: OSError) -> None:
    raise error


def read_images(
    paths: Sequence[Path], resize_size: int, input_size: int, channels: int
) -> Iterator[list[Read]]:
    """Yields batches of images as the evaluation sees them, before normalization.

    Args:
      paths: of files of any kind.
      resize_size, input_size, channels: as in `trainers.data.images.crops.center_crop`.

    Yields:
      At most `BATCH` pairs: the path, and uint8 [input_size, input_size, channels], or the reason
      why the file cannot be read.
    """
    from trainers.data.pipeline import uint8_image

    return read_files(paths, lambda data: uint8_image(data, resize_size, input_size, channels))


def read_files(
    paths: Sequence[Path], transform: Callable[["tf.Tensor"], Any]
) -> Iterator[list[tuple[Path, Any]]]:
    """Yields batches of files that TensorFlow decodes.

    Args:
      paths: of files of any kind.
      transform: from the bytes of a file to a tensor or several; called once, to be traced.

    Yields:
      At most `BATCH` pairs: the path, and what `transform` makes, as NumPy arrays, or the reason
      why the file cannot be read.
    """
    decode = _decoder(transform)
    with ThreadPoolExecutor(_THREADS) as threads:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            images = threads.map(lambda path: _read(path, decode), batch)
            yield list(zip(batch, images, strict=True))


def _read(path: Path, decode: Callable[[bytes], Any]) -> Any:
    try:
        # A pipe would be waited for, and a device may have no end.
        if not stat.S_ISREG(path.stat().st_mode):
            return "not a file"
        return decode(path.read_bytes())
    except OSError as error:
        return error.strerror or str(error)


def _decoder(transform: Callable[["tf.Tensor"], Any]) -> Callable[[bytes], Any]:
    import tensorflow as tf

    traced = tf.function(transform, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)

    def decode(data: bytes) -> Any:
        if not data:
            return "empty"
        try:
            return tf.nest.map_structure(lambda made: made.numpy(), traced(data))
        except tf.errors.OpError as error:
            return f"not an image ({error.message.strip().partition(chr(10))[0]})"

    return decode
