"""Files: written whole or not at all, and described by hash and size."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    with temporary_file(path) as temporary:
        yield temporary
        temporary.replace(path)


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
