"""Ctrl-C and SIGTERM between two steps, where nothing is half done."""

import signal
import threading
from types import FrameType
from typing import Any

# EX_TEMPFAIL of sysexits.h: not done, start it again. Schedulers take 143 for a killed job.
EXIT_TERMINATED = 75


class Interrupts:
    """Holds Ctrl-C and SIGTERM back until `check`. A context manager.

    Raised wherever it arrives, a KeyboardInterrupt can fall into a callback that TensorFlow
    calls, and is lost there. A second Ctrl-C interrupts at once; a second SIGTERM waits like
    the first. What is ignored (`nohup`), or has a handler of somebody else's, stays so.

    Examples:
      >>> with Interrupts() as interrupts:
      ...     for step in range(1000):
      ...         interrupts.check()
    """

    def __init__(self):
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        # Python lets no other thread.
        if threading.current_thread() is threading.main_thread():
            self._handle(signal.SIGINT, signal.default_int_handler)
            self._handle(signal.SIGTERM, signal.SIG_DFL)
        return self

    def __exit__(self, *unused_error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def received(self) -> bool:
        """Whether something arrived since the block began."""
        return self._received is not None

    def check(self) -> None:
        """Raises what arrived since the block began: KeyboardInterrupt, or SystemExit.

        SystemExit, for SIGTERM, has the exit code EXIT_TERMINATED.
        """
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        if self._received == signal.SIGTERM:
            raise SystemExit(EXIT_TERMINATED)

    def _handle(self, number: int, default: Any) -> None:
        if signal.getsignal(number) is default:
            self._before[number] = signal.signal(number, self._hold_back)

    def _hold_back(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
