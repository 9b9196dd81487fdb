"""Keeps the log messages of C++ libraries off the user's screen."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discards what is written to file descriptor 2 while the block runs.

    LiteRT and the TFLite converter print from C++, which `logging` and `warnings` do not see, so
    the descriptor itself is redirected. What matters arrives as an exception.

    Examples:
      >>> with quiet_stderr():
      ...     interpreter.allocate_tensors()
    """
    with Path(os.devnull).open("wb") as nowhere, _redirected(nowhere.fileno()):
        yield


@contextlib.contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Captures what is written to file descriptor 2 while the block runs.

    Yields:
      A list that holds the text after the block.

    Examples:
      >>> with captured_stderr() as notes:
      ...     interpreter.print_allocations()
      >>> "Arena allocation total" in notes[0]
      True
    """
    notes: list[str] = []
    with tempfile.TemporaryFile() as file:
        try:
            with _redirected(file.fileno()):
                yield notes
        finally:
            file.seek(0)
            notes.append(file.read().decode(errors="replace"))


@contextlib.contextmanager
def _redirected(descriptor: int) -> Iterator[None]:
    sys.stderr.flush()
    screen = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(screen, 2)
        os.close(screen)
