"""What pages send: measurements that grow while they run, checked before anything trusts them.

A page measures all files with one accelerator, a *pass*, and sends what it has every few seconds. A
tab that closes, sleeps or loses the network leaves a draft, which becomes a result with the runs
that were made.
"""

import base64
import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

import numpy as np

from edge.browser.outputs import average_precision
from edge.browser.plan import ACCELERATORS, Plan

_RUN = re.compile("[0-9a-f]{16}")
_MAX_TEXT = 400
_MAX_DRAFTS = 64
_MAX_MS = 1e7
# A time takes at most so many characters in JSON.
_NUMBER_BYTES = 24
_TEXTS = ("browser", "platform", "model", "user_agent", "gpu")


class MessageError(ValueError):
    """A page's message is not what this version's page sends; the text says what is wrong."""


@dataclass
class FilePart:
    """A file's part of a pass.

    Attributes:
      milliseconds: of one inference each.
      initialization_ms, first_ms: loading, and the first inference.
      outputs: float32 [images, …], or None before they came.
      error: why it could not be measured, or None.
    """

    milliseconds: list[float] = field(default_factory=list)
    initialization_ms: float | None = None
    first_ms: float | None = None
    outputs: np.ndarray | None = None
    error: str | None = None


@dataclass
class Pass:
    """All files measured with one accelerator in one tab.

    Attributes:
      run: the page's random number of this measurement.
      accelerator: of `ACCELERATORS`.
      machine: `browser`, `platform`, `model`, `user_agent`, `gpu` (texts), `cores` (or None).
      conditions: `threads`, `warmup`, `warmup_stable`, `timer_ms`, `per_time`, `interruptions`,
        `isolated`.
      files: by name.
      complete: whether all runs were made.
    """

    run: str
    accelerator: str
    machine: dict
    conditions: dict
    files: dict[str, FilePart]
    complete: bool = False

    def runs(self) -> int:
        """Returns the timed rounds so far: those that every file without an error has."""
        counts = [len(part.milliseconds) for part in self.files.values() if part.error is None]
        return min(counts, default=0)


@dataclass(frozen=True)
class Ending:
    """A page's measurement is over; `error` says why it failed as a whole, or is None."""

    run: str
    error: str | None


class Collection:
    """Takes the messages of pages, of several at once, and gives finished passes.

    Args:
      plan: what the pages measure.

    Attributes:
      finished: a queue of `Pass` and `Ending`.
    """

    def __init__(self, plan: Plan):
        self._plan = plan
        self._drafts: dict[tuple[str, str], tuple[Pass, float]] = {}
        self._given: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self.finished: Queue[Pass | Ending] = Queue()
        self._heard = time.monotonic()

    @property
    def max_bytes(self) -> int:
        """The largest message that a page sends."""
        outputs = len(self._plan.images) * math.prod(self._plan.output_shape) * 4 * 4 // 3
        each = outputs + self._plan.runs * _NUMBER_BYTES + 8 * _MAX_TEXT
        return 2**16 + len(self._plan.files) * each

    def receive(self, message: Any) -> dict[str, float]:
        """Takes a message.

        Returns:
          The average precision of each file of a detector whose outputs the message has, 0 to 1.

        Raises:
          MessageError: it is not one of this version's page.
        """
        run = _need(message, "run", lambda value: isinstance(value, str) and _RUN.fullmatch(value))
        outputs: dict[str, np.ndarray] = {}
        with self._lock:
            self._heard = time.monotonic()
            if "pass" in message:
                outputs = self._take(run, message)
            elif message.get("leaving"):
                self._finish_all(run)
            elif message.get("finished"):
                self._end(run, _optional_text(message, "error"))
            else:
                raise MessageError("a message needs a pass, or must say that it is finished")
        # Later, because it takes a moment, in which other pages may send.
        found = {
            name: average_precision(self._plan.artifact, name, outputs[name]) for name in outputs
        }
        return {name: ap for name, ap in found.items() if ap is not None}

    def silence(self) -> float:
        """Returns for how many seconds no page has sent anything."""
        return time.monotonic() - self._heard

    def give_up(self, silence: float) -> None:
        """Finishes drafts of which nothing was heard for some seconds, with the runs they have."""
        with self._lock:
            for key, (_, heard) in list(self._drafts.items()):
                if time.monotonic() - heard > silence:
                    self._finish(key)

    def _take(self, run: str, message: dict) -> dict[str, np.ndarray]:
        """Takes a pass; returns the outputs that came with it."""
        sent = _need(message, "pass", lambda value: isinstance(value, dict))
        accelerator = _need(sent, "accelerator", lambda value: value in ACCELERATORS)
        key = (run, accelerator)
        if key not in self._drafts and len(self._drafts) >= _MAX_DRAFTS:
            raise MessageError("too many measurements at once")
        files = self._parts(_need(sent, "files", lambda value: isinstance(value, list)))
        outputs = {name: part.outputs for name, part in files.items() if part.outputs is not None}
        for name, known in self._drafts[key][0].files.items() if key in self._drafts else ():
            if name in files and name not in outputs:
                files[name].outputs = known.outputs
        found = Pass(
            run=run,
            accelerator=accelerator,
            machine=_machine(_need(message, "machine", lambda value: isinstance(value, dict))),
            conditions=_conditions(sent),
            files=files,
            complete=sent.get("complete") is True,
        )
        self._drafts[key] = (found, time.monotonic())
        if found.complete or sent.get("leaving") is True:
            self._finish(key)
        return outputs

    def _parts(self, sent: list) -> dict[str, FilePart]:
        parts = {}
        for one in sent:
            name = _need(one, "file", lambda value: value in self._plan.files)
            hashed = self._plan.artifact.files[name]["sha256"]
            _need(one, "sha256", lambda value, hashed=hashed: value == hashed)
            parts[name] = FilePart(
                milliseconds=_times(one, self._plan.runs),
                initialization_ms=_optional_number(one, "initialization_ms"),
                first_ms=_optional_number(one, "first_ms"),
                outputs=self._outputs(one),
                error=_optional_text(one, "error"),
            )
        return parts

    def _outputs(self, one: dict) -> np.ndarray | None:
        if one.get("outputs") is None:
            return None
        shape = (len(self._plan.images), *self._plan.output_shape)
        try:
            content = base64.b64decode(one["outputs"], validate=True)
            return np.frombuffer(content, "<f4").reshape(shape)
        except (ValueError, TypeError) as error:
            raise MessageError(f"the outputs of {one['file']} are damaged") from error

    def _finish(self, key: tuple[str, str]) -> None:
        """Gives a draft, unless one of the same pass with as many runs was given before."""
        found, _ = self._drafts.pop(key)
        runs = found.runs()
        failed = any(part.error is not None for part in found.files.values())
        if runs > self._given.get(key, 0) or (failed and key not in self._given):
            self._given[key] = runs
            self.finished.put(found)

    def _end(self, run: str, error: str | None) -> None:
        self._finish_all(run)
        self.finished.put(Ending(run, error))

    def _finish_all(self, run: str) -> None:
        for key in [key for key in self._drafts if key[0] == run]:
            self._finish(key)


def _need(mapping: Any, key: str, is_good: Callable[[Any], Any]) -> Any:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    try:
        good = is_good(value)
    # Not hashable: a list is in no dictionary. Or an integer too large for a float.
    except (TypeError, OverflowError):
        good = False
    if not good:
        raise MessageError(f"{key} is missing or wrong")
    return value


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value <= _MAX_MS


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 1e6


def _optional_number(mapping: dict, key: str) -> float | None:
    return _need(mapping, key, lambda value: value is None or _is_number(value))


def _optional_text(mapping: dict, key: str) -> str | None:
    """Returns a text of printable characters on one line, or None."""
    value = _need(mapping, key, lambda value: value is None or isinstance(value, str))
    return None if value is None else "".join(c for c in value[:_MAX_TEXT] if c.isprintable())


def _times(one: dict, most: int) -> list[float]:
    def is_good(values: Any) -> bool:
        return isinstance(values, list) and len(values) <= most and all(map(_is_number, values))

    return [float(time) for time in _need(one, "milliseconds", is_good)]


def _machine(sent: dict) -> dict:
    return {
        **{key: _optional_text(sent, key) for key in _TEXTS},
        "cores": _need(sent, "cores", lambda value: value is None or _is_count(value)),
    }


def _conditions(sent: dict) -> dict:
    def is_flag(value: Any) -> bool:
        return value in (True, False, None)

    return {
        "threads": _need(sent, "threads", _is_count),
        "warmup": _need(sent, "warmup", _is_count),
        "warmup_stable": _need(sent, "warmup_stable", is_flag),
        "timer_ms": _optional_number(sent, "timer_ms"),
        "per_time": _need(sent, "per_time", _is_count),
        "interruptions": _need(sent, "interruptions", _is_count),
        "isolated": _need(sent, "isolated", is_flag),
    }
