"""Keeps the chatter of C++ libraries off the user's screen."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Turns file descriptor 2 away while the block runs.

    LiteRT and the TFLite converter print notes in C++, past `logging` and `warnings`, so
    only the descriptor can be turned away. What matters arrives as an exception.

    Examples:
      >>> with quiet_stderr():
      ...     interpreter.allocate_tensors()
    """
    sys.stderr.flush()
    screen = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(screen, 2)
        os.close(screen)
