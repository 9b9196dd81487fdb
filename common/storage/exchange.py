"""Two files or folders change places, in one step where the system can do that."""

import ctypes
import errno
import os
from pathlib import Path

from common.cli import UserError

_AT_FDCWD = -100
_EXCHANGE = 2  # RENAME_EXCHANGE
# The system, or this file system, has no such call.
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def exchange(first: Path, second: Path) -> None:
    """Exchanges two paths of one file system.

    Linux does it in one step (renameat2): at no time is either missing. Elsewhere two renames do
    it; if the second one fails, the first is undone.

    Raises:
      OSError: they cannot be exchanged; both are as they were.
      UserError: the first rename could not be undone; the message names where `second` is.
    """
    if not _exchanged_in_one_step(first, second):
        _exchange_by_renames(first, second)


def _exchanged_in_one_step(first: Path, second: Path) -> bool:
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    paths = (os.fsencode(first), os.fsencode(second))
    if call(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], ctypes.c_uint(_EXCHANGE)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(second))


def _exchange_by_renames(first: Path, second: Path) -> None:
    aside = first.with_name(f"{first.name.lstrip('.')}.old")
    second.rename(aside)
    try:
        first.rename(second)
    except OSError:
        _undo(aside, second)
        raise
    aside.rename(first)


def _undo(aside: Path, path: Path) -> None:
    try:
        aside.rename(path)
    except OSError as error:
        raise UserError(
            f"{path} could not be replaced ({error.strerror}); it is in {aside}: move it back"
        ) from error
