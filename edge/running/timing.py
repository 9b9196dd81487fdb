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

# Turns that are made however long they take: a median wants as many.
_LEAST = 3
_CLOCKS = {"wall": time.perf_counter, "thread": time.thread_time}


class Runnable(Protocol):
    """A loaded model with its input set."""

    def run(self) -> None:
        """Computes the output."""


def measure(request: dict) -> dict:
    """Times the request's `files` on its `core` as `take_turns` does; the input is noise."""
    pin([request["core"]])
    models = [LiteRTModel(path) for path in request["files"]]
    rng = np.random.default_rng(0)
    for model in models:
        model.set_input(model.quantize_input(rng.uniform(-1, 1, model.input_shape)))
    return {"milliseconds": take_turns(models, request)}


def take_turns(models: Sequence[Runnable], request: dict) -> list[list[float]]:
    """Times models in interleaved rounds; the first turn of each is not counted.

    Args:
      models: with their inputs set.
      request: `rounds`; `invokes` of a turn, which counts by their median; `seconds` a model after
        which the rounds end early, but not before the third; `clock`, "thread" for the thread's own
        CPU time, without what it waited for others.

    Returns:
      For each model `rounds` times of one inference in milliseconds.
    """
    clock = _CLOCKS[request.get("clock", "wall")]
    end = time.monotonic() + request.get("seconds", math.inf) * len(models)
    turns: list[list[float]] = []
    while len(turns) <= request["rounds"] and (len(turns) <= _LEAST or time.monotonic() < end):
        turns.append([turn(model, request["invokes"], clock) for model in models])
    return np.transpose(turns[1:]).tolist()


def turn(model: Runnable, invokes: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Returns the median milliseconds of several runs, after one that is not counted."""
    # Brings the model's weights back into the caches, which the others' have filled.
    model.run()
    return float(np.median([timed(model.run, clock) for _ in range(invokes)]))


def pin(cores: Collection[int]) -> None:
    """Keeps this process, and those that it starts, on these cores; none: wherever it is."""
    # Not on every system; there the scheduler may move the process. `runner.pin` refuses instead:
    # it gets what the user asked for by --cores, while here some core is taken in any case.
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    worker.serve(measure)
