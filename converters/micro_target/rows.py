"""Which rows of its input an operator needs for some rows of its output."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

from converters.graph.shapes import window_extent


class NoBandsError(ValueError):
    """A graph that cannot be computed in bands; the message says why."""


class Rows(NamedTuple):
    """Rows of a map from `start` up to `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def holds(self, other: "Rows") -> bool:
        """Returns whether all rows of `other` are here."""
        return self.start <= other.start and other.stop <= self.stop

    def hull(self, other: "Rows") -> "Rows":
        """Returns the rows from the first to the last of both."""
        return Rows(min(self.start, other.start), max(self.stop, other.stop))


class Request(NamedTuple):
    """What a consumer needs of a map.

    Attributes:
      rows: the rows that the tensor is to have.
      valid: those of them that must be right; the others are not used.
    """

    rows: Rows
    valid: Rows

    def merge(self, other: "Request") -> "Request":
        """Returns a request that serves both."""
        return Request(self.rows.hull(other.rows), self.valid.hull(other.valid))


class Window(NamedTuple):
    """A convolution or a pool along the rows.

    Attributes:
      size: rows that a window spans, with its holes.
      stride: rows between two windows.
      same: whether the padding is TensorFlow's "same"; otherwise "valid".
      height: rows of the whole input.
    """

    size: int
    stride: int
    same: bool
    height: int

    def padding(self, height: int) -> int:
        """Returns the rows of padding above an input of `height` rows."""
        if not self.same:
            return 0
        windows = window_extent(height, self.size, self.stride, "same")
        return max((windows - 1) * self.stride + self.size - height, 0) // 2

    def needed(self, rows: Rows) -> Rows:
        """Returns the rows of the input that some rows of the output depend on."""
        top = self.padding(self.height)
        start = max(0, rows.start * self.stride - top)
        stop = (rows.stop - 1) * self.stride - top + self.size
        return Rows(start, min(self.height, stop))

    def made(self, given: Rows) -> Rows | None:
        """Returns which rows the operator makes of a part of its input.

        The first and last of them are wrong if their windows meet the part's edge where the whole
        input has more rows. None: the windows do not lie where they do in the whole input.
        """
        padding = "same" if self.same else "valid"
        offset = given.start - self.padding(len(given)) + self.padding(self.height)
        count = window_extent(len(given), self.size, self.stride, padding)
        if offset % self.stride or offset < 0 or count < 1:
            return None
        start = offset // self.stride
        return Rows(start, start + count)


class Step(NamedTuple):
    """How an operator makes what a request wants: from which input, and which rows it makes."""

    input: Request
    made: Rows


@functools.cache
def plan_step(window: Window, request: Request) -> Step:
    """Returns the smallest input from which an operator makes a request's rows.

    Args:
      window: the operator.
      request: what is wanted of its output.

    Returns:
      A step that makes exactly the rows wanted, if there is one; else more rows, to be cut off.

    Raises:
      NoBandsError: no part of the input gives them.

    Examples:
      >>> window = Window(size=3, stride=2, same=True, height=112)
      >>> plan_step(window, Request(Rows(8, 16), Rows(8, 15))).input.rows
      Rows(start=16, stop=32)
    """
    needed = window.needed(request.valid)
    steps = [
        Step(Request(given, needed), made)
        for given in _inputs(window, needed.hull(window.needed(request.rows)), needed)
        if (made := window.made(given)) is not None and made.holds(request.rows)
    ]
    if not steps:
        raise NoBandsError(f"rows {request.rows} of a window of {window.size} rows")
    exact = [step for step in steps if step.made == request.rows]
    return min(exact or steps, key=lambda step: len(step.input.rows))


def _inputs(window: Window, most: Rows, least: Rows) -> Iterator[Rows]:
    """Yields the parts of the input around the rows that are needed, the smallest first."""
    reach = window.size + window.stride
    for start in range(least.start, max(0, most.start - reach) - 1, -1):
        for stop in range(least.stop, min(window.height, most.stop + reach) + 1):
            yield Rows(start, stop)
