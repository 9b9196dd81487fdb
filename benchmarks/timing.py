"""Times .tflite files in a fresh process on one core; run by `edge.worker.call`."""

import os
import time
from typing import Protocol

import numpy as np

from edge import worker
from trainers.litert import LiteRTModel


class Runnable(Protocol):
    """A loaded model with its input set."""

    def run(self) -> None:
        """Computes the output."""


def measure(request: dict) -> dict:
    """Times the request's files in turn; the first turn of each is not counted.

    Returns:
      For each file `rounds` times of one inference in milliseconds, in the request's order: the
      median of a turn's `invokes`.
    """
    pin(request["core"])
    models = [LiteRTModel(path) for path in request["files"]]
    rng = np.random.default_rng(0)
    for model in models:
        model.set_input(model.quantize_input(rng.uniform(-1, 1, model.input_shape)))
    turns = [
        [turn(model, request["invokes"]) for model in models] for _ in range(request["rounds"] + 1)
    ]
    return {"milliseconds": np.transpose(turns[1:]).tolist()}


def turn(model: Runnable, invokes: int) -> float:
    """Returns the median milliseconds of several runs, after one that is not counted."""
    # Brings the model's weights back into the caches, which the others' have filled.
    model.run()
    times = []
    for _ in range(invokes):
        start = time.perf_counter()
        model.run()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def pin(core: int) -> None:
    """Keeps this process on one core."""
    # Not on every system; there the scheduler may move the process.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


if __name__ == "__main__":
    worker.serve(measure)
