"""Files: written whole or not at all, and described by hash and size."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CHUNK = 2**20


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path next to `path`, renamed to `path` when the block succeeds.

    The suffix is kept, because writers such as Keras choose the format by it. After an error the
    temporary file is removed and `path` is as it was before.

    Raises:
      OSError: the folder cannot be written.

    Examples:
      >>> with atomic_write("model.keras") as temporary:
      ...     model.save(temporary)
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix="." + path.name)
    os.close(handle)
    temporary = Path(name)
    apply_umask(temporary, 0o666)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def apply_umask(path: Path, mode: int) -> None:
    """Makes a file or folder by tempfile, which is private, as readable as any other new one."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(mode & ~umask)


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
