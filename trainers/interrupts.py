"""Ctrl-C between two steps, where nothing is half done."""

import signal
import threading
from types import FrameType
from typing import Any


class Interrupts:
    """Holds Ctrl-C back until `check`; a second one interrupts at once. A context manager.

    Raised wherever it arrives, a KeyboardInterrupt can fall into a callback that TensorFlow
    calls, and is lost there. Where Ctrl-C is ignored (`nohup`), it stays ignored.

    Example:
      >>> with Interrupts() as interrupts:
      ...     for step in range(1000):
      ...         interrupts.check()
    """

    def __init__(self):
        self._received = False
        self._before: Any = None

    def __enter__(self) -> "Interrupts":
        # Python lets no other thread, and nobody else's handler is replaced.
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._hold_back)
        return self

    def __exit__(self, *unused_error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raises KeyboardInterrupt if Ctrl-C was pressed since the block began."""
        if self._received:
            raise KeyboardInterrupt

    def _hold_back(self, number: int, frame: FrameType | None) -> None:
        self._received = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
