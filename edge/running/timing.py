"""Times .tflite files in a fresh process on one core; run by `edge.running.worker.call`."""

import math
import os
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np

from common.tflite.litert import LiteRTModel
from edge.running import worker
from edge.running.runner import timed

# The number of rounds that are always measured, because a median needs them.
_LEAST = 3
_CLOCKS = {"wall": time.perf_counter, "thread": time.thread_time}


class Runnable(Protocol):
    """A loaded model with its input set."""

    def run(self) -> None:
        """Computes the output."""


def measure(request: dict) -> dict:
    """Times the request's `files` on its `core` with `take_turns`; the input is noise."""
    pin([request["core"]])
    models = [LiteRTModel(path) for path in request["files"]]
    rng = np.random.default_rng(0)
    for model in models:
        model.set_input(model.quantize_input(rng.uniform(-1, 1, model.input_shape)))
    return {"milliseconds": take_turns(models, request)}


def take_turns(models: Sequence[Runnable], request: dict) -> list[list[float]]:
    """Times models in interleaved rounds; the first round is not counted.

    Args:
      models: the models, with their inputs set.
      request: `rounds`; `invokes`, the inferences per round, whose median counts; `seconds` per
        model after which the rounds end early, but not before the third; `clock`, "thread" for the
        thread's own CPU time, without waiting for others.

    Returns:
      For each model, the milliseconds of one inference in each round.
    """
    clock = _CLOCKS[request.get("clock", "wall")]
    end = time.monotonic() + request.get("seconds", math.inf) * len(models)
    turns: list[list[float]] = []
    while len(turns) <= request["rounds"] and (len(turns) <= _LEAST or time.monotonic() < end):
        turns.append([turn(model, request["invokes"], clock) for model in models])
    return np.transpose(turns[1:]).tolist()


def turn(model: Runnable, invokes: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Returns the median milliseconds of several runs, after one that is not counted."""
    # Loads the model's weights into the caches again, where those of other models are now.
    model.run()
    return float(np.median([timed(model.run, clock) for _ in range(invokes)]))


def pin(cores: Collection[int]) -> None:
    """Pins this process, and those that it starts, to these cores; none means no pinning."""
    # Some systems cannot pin; there the scheduler may move the process. `runner.pin` raises an
    # error instead, because the user asked for --cores; here any core will do.
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    worker.serve(measure)
