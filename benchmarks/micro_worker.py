"""Runs a .tflite file in TFLite Micro's interpreter, in a fresh process; see `edge.worker.call`."""

import time

import numpy as np

from edge import worker
from edge.micro_worker import ARENA_BYTES
from trainers.cli import UserError
from trainers.litert import LiteRTModel


def measure(request: dict) -> dict:
    """Returns the milliseconds of the request's `runs`; the arena's size goes to stderr."""
    model = LiteRTModel(request["file"])
    x = model.quantize_input(np.random.default_rng(0).uniform(-1, 1, model.input_shape))
    from tflite_micro.python.tflite_micro import runtime

    try:
        interpreter = runtime.Interpreter.from_file(request["file"], arena_size=ARENA_BYTES)
        times = [_run(interpreter, x) for _ in range(request["runs"])]
        interpreter.print_allocations()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"TFLite Micro refuses it: {error}") from error
    return {"milliseconds": times}


def _run(interpreter: object, x: np.ndarray) -> float:
    # Every time: the interpreter overwrites its input.
    interpreter.set_input(x, 0)
    start = time.perf_counter()
    interpreter.invoke()
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    worker.serve(measure)
