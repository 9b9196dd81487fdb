"""Reads .npz files that anyone may have written: shapes and types are checked before the data."""

import errno
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from common.storage.readers import DamagedError

# What zipfile and numpy raise on files that are damaged, encrypted, or not archives at all.
_BAD = (
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    RuntimeError,  # NotImplementedError and RecursionError, too
    OverflowError,
    MemoryError,
    SyntaxError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def read_arrays(
    path: str | os.PathLike, expected: Mapping[str, tuple[tuple[int, ...], type]], remedy: str
) -> list[np.ndarray]:
    """Returns arrays of known shapes and types from an .npz file.

    Args:
      path: the file.
      expected: shape and dtype by name.
      remedy: what the user can do, for the message.

    Raises:
      DamagedError: the file is damaged, or an array has another shape or type.
      OSError: it does not exist, or the disk cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # Before anything is unpacked: a small file can announce an enormous array.
            for name, (shape, dtype) in expected.items():
                _check_array(archive, name, shape, np.dtype(dtype))
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[name] for name in expected]
    except (*_BAD, OSError) as error:
        # zipfile seeks wherever the file says, also to before its start; other OSErrors are the
        # disk's.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DamagedError(path, reason, remedy) from error


def _check_array(archive: zipfile.ZipFile, name: str, shape: tuple, dtype: np.dtype) -> None:
    with archive.open(f"{name}.npy") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is not in format 1.0")
        found_shape, fortran_order, found_dtype = np.lib.format.read_array_header_1_0(file)
    if (found_shape, fortran_order, found_dtype) != (shape, False, dtype):
        raise ValueError(
            f"{name} is {found_dtype} of shape {found_shape}, not {dtype} of shape {shape}"
        )


def load_arrays(path: str | os.PathLike, remedy: str) -> dict[str, np.ndarray]:
    """Returns all arrays of an .npz file that a user names, by name.

    Args:
      path: the file; nothing in it is unpickled.
      remedy: what the user can do, for the message.

    Raises:
      DamagedError: the file is no .npz file, or is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except _BAD as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DamagedError(path, reason, remedy) from error
