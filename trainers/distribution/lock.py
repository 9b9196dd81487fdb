"""A lock that allows one training per workdir."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from common.cli import UserError

LOCK_FILE = ".lock"


@contextlib.contextmanager
def locked(workdir: str | Path) -> Iterator[None]:
    """Locks the workdir for this process; the lock ends with the process, however it ends.

    Args:
      workdir: a folder, created if missing. A file remains in it, but is not the lock itself.

    Raises:
      UserError: another process holds the lock; the message names it if possible.

    Examples:
      >>> with locked("/tmp/digits"):
      ...     loop.train(config)
    """
    path = Path(workdir) / LOCK_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _opened(path)
    try:
        _lock(handle, path)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    # What a link leads to would be emptied; opening a pipe would wait for its other end.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"{path} is not a plain file; remove it, or name another --workdir")
    return os.open(path, flags, 0o666)


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 1000, 0).decode(errors="replace") or "another process"
        raise UserError(
            f"{path.parent} is in use by another training ({holder}); wait until it ends, or "
            "name another --workdir"
        ) from None
    except OSError as error:
        # Some network file systems do not support locks.
        words = "%s cannot be locked (%s): make sure that only one training runs there"
        logging.warning(words, path.parent, error.strerror)
