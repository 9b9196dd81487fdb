"""Shows the progress of long work: a bar on a terminal, a line now and then elsewhere."""

import sys
import time

from tqdm import tqdm

# A log file should show that work goes on, not every step of it.
_SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Shows how much work is done, the rate, and the time left; a context manager.

    Args:
      title: what is being done, in one word.
      total: number of units of work.
      start: units that an earlier run has done.
      unit: name of a unit.

    Examples:
      >>> with Progress("training", total=10_000, unit="image") as progress:
      ...     progress.update(64, loss=2.3)
    """

    def __init__(self, title: str, total: int, start: int = 0, unit: str = "image"):
        self._title, self._total, self._start, self._unit = title, total, start, unit
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            desc=title,
            total=total,
            initial=start,
            unit=unit,
            unit_scale=True,
            disable=not self._terminal,
            dynamic_ncols=True,
        )
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *unused_error: object) -> None:
        self._bar.close()

    def update(self, done: int, **values: float) -> None:
        """Shows that `done` units, counted from 0, are done, and some values."""
        if self._terminal:
            self._bar.set_postfix({k: f"{v:.4g}" for k, v in values.items()}, refresh=False)
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._print_line(done, values)

    def say(self, text: str) -> None:
        """Prints a line without breaking the bar."""
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()

    def _print_line(self, done: int, values: dict[str, float]) -> None:
        rate = (done - self._start) / max(self._last_line - self._started, 1e-9)
        left = tqdm.format_interval((self._total - done) / rate) if rate else "?"
        pace = f"{rate:.0f} {self._unit}s/s"
        if 0 < rate < 1:
            pace = f"{1 / rate:.1f} s/{self._unit}"
        shown = "".join(f", {name} {value:.4g}" for name, value in values.items())
        self.say(
            f"{self._title}: {done}/{self._total} {self._unit}s "
            f"({100 * done / self._total:.0f}%), {pace}, {left} left{shown}"
        )
