"""Bounds for files of weights: a small file must not become an enormous array."""

import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py

# What zipfile, h5py and numpy raise on damaged, encrypted and contradictory files.
DAMAGED = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, SyntaxError),
    *(RuntimeError, OverflowError, MemoryError),
    *(struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
# Weights hardly compress: real files unpack to little more than their size.
_ALWAYS_ALLOWED = 256 * 2**20
_MAX_RATIO = 50


def check_archive(path: str | Path) -> None:
    """Raises ValueError if a zip file unpacks to far more than its size, or is none (`DAMAGED`)."""
    with zipfile.ZipFile(path) as archive:
        _check(sum(member.file_size for member in archive.infolist()), Path(path).stat().st_size)


def check_arrays(file: h5py.File, stored: int) -> None:
    """Raises ValueError if the arrays of an HDF5 file are far larger than it, as `stored` bytes."""
    total = 0

    def visit(_: str, node: Any) -> None:
        nonlocal total
        if isinstance(node, h5py.Dataset):
            total += node.size * node.dtype.itemsize if node.shape is not None else 0

    file.visititems(visit)
    _check(total, stored)


def _check(unpacked: int, stored: int) -> None:
    if unpacked > max(_ALWAYS_ALLOWED, _MAX_RATIO * stored):
        raise ValueError(f"{stored:,} bytes that unpack to {unpacked:,}")
