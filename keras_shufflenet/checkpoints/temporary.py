"""Temporary files that are renamed when they are whole; after a kill, the next write removes them.

Like `common.storage.temporary`, which this package does not import: it works without the others.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: what a killed process leaves stays there.
    fcntl = None

_PREFIX = ".part-"


@contextlib.contextmanager
def temporary_beside(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path next to `path`, renamed to `path` when the block succeeds.

    It is in a temporary folder and keeps its name, because Keras chooses the format by the suffix.
    What killed processes have left for the same `path` is removed first.

    Raises:
      OSError: the folder of `path` cannot be written.

    Examples:
      >>> with temporary_beside("model.keras") as temporary:
      ...     model.save(temporary)
    """
    path = Path(path)
    _remove_abandoned(path)
    with _locked_folder(path) as folder:
        yield folder / path.name
        (folder / path.name).replace(path)


def _remove_abandoned(path: Path) -> None:
    """Removes the temporary folders for a path whose processes, and so their locks, have ended."""
    pattern = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}\." + re.escape(path.name))
    with contextlib.suppress(OSError):
        for folder in [each for each in path.parent.iterdir() if pattern.fullmatch(each.name)]:
            with _locked(folder) as is_locked:
                if is_locked:
                    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked_folder(path: Path) -> Iterator[Path]:
    while True:
        name = tempfile.mkdtemp(dir=path.parent, prefix=_PREFIX, suffix=f".{path.name}")
        with _locked(Path(name)):
            # Another process may have taken it for abandoned before it was locked.
            if Path(name).exists():
                try:
                    yield Path(name)
                finally:
                    shutil.rmtree(name, ignore_errors=True)
                return


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Locks a folder in the block; yields whether it could: it is there, and nobody else has it."""
    if fcntl is None:
        yield False
        return
    with contextlib.ExitStack() as stack:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_locked = True
        except OSError:  # Some network file systems have no locks: nothing is removed there.
            is_locked = False
        yield is_locked
