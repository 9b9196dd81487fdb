"""Temporary files and folders that the next run removes if this one is killed.

Each has a lock (flock), which ends with its process: what is not locked has no owner any more.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = ".part-"


@contextlib.contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Yields a new folder next to `beside`; it is removed at the end, if it still has its name.

    Removes those for the same name first that killed processes have left.

    Raises:
      OSError: the parent folder cannot be written.
    """
    remove_abandoned(beside)
    handle, path = _locked_folder(beside)
    try:
        apply_umask(path, 0o777)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


@contextlib.contextmanager
def temporary_file(beside: Path) -> Iterator[Path]:
    """Yields a new, empty file, to be renamed to `beside`; it is removed at the end, if it is not.

    It has the name of `beside` (writers such as Keras choose the format by the suffix) in a
    temporary folder next to it, which has the lock: HDF5 wants one of its own on each file.
    """
    with temporary_folder(beside) as folder:
        path = folder / beside.name
        path.touch()
        yield path


def remove_abandoned(beside: Path) -> None:
    """Removes the temporary files and folders for a name whose processes have ended."""
    pattern = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}\." + re.escape(beside.name))
    with contextlib.suppress(OSError):
        for path in [path for path in beside.parent.iterdir() if pattern.fullmatch(path.name)]:
            _remove_if_abandoned(path)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Locks a folder while the block runs, so that no other run takes it for abandoned."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def apply_umask(path: Path, mode: int) -> None:
    """Makes a file or folder by tempfile, which is private, as readable as any other new one."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(mode & ~umask)


def _locked_folder(beside: Path) -> tuple[int, Path]:
    """Makes and locks one; again, if another run removed it as abandoned before it was locked."""
    while True:
        name = tempfile.mkdtemp(dir=beside.parent, prefix=_PREFIX, suffix=f".{beside.name}")
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        _lock(handle)
        if Path(name).exists():
            return handle, Path(name)
        os.close(handle)


def _lock(handle: int) -> None:
    # Some network file systems have no locks: nothing can be proved there, nor is it removed.
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_if_abandoned(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    except OSError:
        pass  # It is in use, or not ours to remove.
    finally:
        os.close(handle)
