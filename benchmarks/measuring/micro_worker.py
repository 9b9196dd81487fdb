"""Runs a .tflite file in TFLite Micro's interpreter.

Run by `edge.running.worker.call`, in a fresh process.
"""

import itertools

import numpy as np

from common.litert import LiteRTModel
from edge.running import worker
from edge.running.micro_worker import run_micro


def measure(request: dict) -> dict:
    """Returns the milliseconds of the request's `runs`, and the arena's bytes."""
    model = LiteRTModel(request["file"])
    x = model.quantize_input(np.random.default_rng(0).uniform(-1, 1, model.input_shape))
    _, milliseconds, arena_bytes = run_micro(model.path, itertools.repeat(x[0], request["runs"]))
    return {"milliseconds": milliseconds, "arena_bytes": arena_bytes}


if __name__ == "__main__":
    worker.serve(measure)
