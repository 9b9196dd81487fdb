"""Handles Ctrl-C and SIGTERM between two steps, when nothing is half done."""

import signal
import threading
from types import FrameType
from typing import Any

# EX_TEMPFAIL of sysexits.h: not done, run it again. Schedulers treat 143 as a killed job.
EXIT_TERMINATED = 75


class Interrupts:
    """Delays Ctrl-C and SIGTERM until `check` is called. A context manager.

    Without it, a KeyboardInterrupt could be raised in a callback from TensorFlow and be lost there.
    A second Ctrl-C interrupts immediately; a second SIGTERM waits like the first. A signal that is
    ignored (`nohup`) or has another handler is left alone.

    Examples:
      >>> with Interrupts() as interrupts:
      ...     for step in range(1000):
      ...         interrupts.check()
    """

    def __init__(self):
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        # Python allows it only in the main thread.
        if threading.current_thread() is threading.main_thread():
            self._handle(signal.SIGINT, signal.default_int_handler)
            self._handle(signal.SIGTERM, signal.SIG_DFL)
        return self

    def __exit__(self, *unused_error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def received(self) -> bool:
        """Whether a signal arrived since the block started."""
        return self._received is not None

    def check(self) -> None:
        """Raises KeyboardInterrupt or SystemExit if a signal arrived since the block started.

        SystemExit is for SIGTERM and has the exit code EXIT_TERMINATED.
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
