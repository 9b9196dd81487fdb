"""Files: written whole or not at all, and described by hash and size."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from common.cli import UserError
from common.storage.temporary import temporary_file

_CHUNK = 2**20


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path next to `path`, renamed to `path` when the block succeeds.

    The suffix is kept, because writers such as Keras choose the format by it. After an error the
    temporary file is removed and `path` is as it was before; after a kill, the next write to `path`
    removes it.

    Raises:
      UserError: `path` is a folder, a pipe or a device.
      OSError: the folder cannot be written.

    Examples:
      >>> with atomic_write("model.keras") as temporary:
      ...     model.save(temporary)
    """
    path = Path(path)
    check_replaceable(path)
    with naming_when_full(path), temporary_file(path) as temporary:
        yield temporary
        temporary.replace(path)


@contextlib.contextmanager
def naming_when_full(path: str | os.PathLike) -> Iterator[None]:
    """Adds a name to the error of a full disk, which has none where a file was open already."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if getattr(error, "filename", None) is None and _is_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def check_free(path: str | os.PathLike, size: int) -> None:
    """Raises OSError unless a disk has room for a file; HDF5 can crash when one fills up."""
    if shutil.disk_usage(Path(path).parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _is_full(error: Exception) -> bool:
    """Returns whether a disk was full; HDF5 says so in a text, sometimes as a RuntimeError."""
    is_code = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return is_code or any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT))


def check_replaceable(path: Path) -> None:
    """Raises UserError unless `path` is a file or does not exist: renaming would end a pipe."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a pipe or a device, not a file; name a file")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 `text` to `path`, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON to `path`, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def append_text(path: str | os.PathLike, text: str) -> None:
    """Appends whole lines to a UTF-8 file, made if it is missing, and waits until they are there.

    All is written at once, so that two processes can share a file. After an incomplete last line,
    of a killed run, `text` starts on a new line.

    Raises:
      UserError: `path` is a folder, a pipe, a device or a symbolic link.
      OSError: the file cannot be written.
    """
    with naming_when_full(path), _opened_to_append(path) as file:
        content = text.encode()
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                content = b"\n" + content
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def check_appendable(path: str | os.PathLike) -> None:
    """Raises what `append_text` would raise, now rather than after minutes of work."""
    with _opened_to_append(path):
        pass


def _opened_to_append(path: str | os.PathLike) -> BinaryIO:
    # A link could point to any file of the user's; a pipe would wait for a reader.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    if Path(path).is_symlink():
        raise UserError(f"{path} is a symbolic link, which is not followed; name the file itself")
    check_replaceable(Path(path))
    file = os.fdopen(os.open(path, flags, 0o666), "r+b")
    file.seek(0, os.SEEK_END)
    return file


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def stored_file(path: Path) -> dict:
    """Returns what the manifest says about every file: hash and size."""
    return {"sha256": sha256(path), "bytes": path.stat().st_size}
