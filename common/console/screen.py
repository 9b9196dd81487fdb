"""What commands print: on terminals of any encoding, and after the reader of a pipe has gone."""

import contextlib
import os
import sys
from typing import Any, TextIO


class Screen:
    """A text stream that goes on when nobody reads it any more, as after `… | head -1`.

    Work is not lost because of what it prints: from then on, the text is dropped.

    Args:
      stream: sys.stdout or sys.stderr.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        if hasattr(stream, "reconfigure"):
            # In an ASCII terminal, and for file names that are not UTF-8: as \\xe9, not an error.
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Writes or drops text."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Hands over what was written."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _drop(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def protect() -> None:
    """Makes sys.stdout and sys.stderr such streams; a command calls it first."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Screen):
            setattr(sys, name, Screen(stream))
