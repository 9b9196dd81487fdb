"""What the micro-sim device does in a fresh process; run by `edge.worker.call`."""

import time

import numpy as np

from converters.artifact import Artifact
from edge import worker
from edge.measurement import compare_outputs
from edge.runner import pin, read_state
from trainers.cli import UserError
from trainers.litert import LiteRTModel

# More than any microcontroller has: what is used of it is measured, not chosen.
ARENA_BYTES = 64 * 2**20


def measure(request: dict) -> dict:
    """Runs a .tflite file in the TFLite Micro interpreter and in LiteRT, on the same images."""
    pin(request["cores"])
    artifact = Artifact.open(request["artifact"])
    model = artifact.load(request["file"])
    if model.input_quantization is None or model.output_quantization is None:
        raise UserError(
            "it has float input or output and micro-sim compares integers; "
            "convert with --quantization=int8-ptq"
        )
    images, labels = _images(artifact, request["images"])
    inputs = model.quantize_input(artifact.preprocess(images))
    before = read_state()
    outputs, milliseconds = _run_micro(model, inputs)
    after = read_state()
    reference = artifact.load(request["file"], reference_kernels=True)
    return {
        "milliseconds": milliseconds,
        "state_before": before,
        "state_after": after,
        # Two, because LiteRT's optimized kernels round otherwise than its reference kernels,
        # layer after layer: a difference to the former alone is no fault of TFLite Micro.
        "agreement": compare_outputs(_run_litert(model, inputs), outputs),
        "agreement_reference": compare_outputs(_run_litert(reference, inputs), outputs),
        "accuracy": None if labels is None else float((outputs.argmax(-1) == labels).mean()),
        "accuracy_images": 0 if labels is None else len(labels),
    }


def _images(artifact: Artifact, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    samples = artifact.samples(limit=count)
    if samples is not None:
        return samples
    shape = (count, *artifact.input_shape[1:])
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8), None


def _run_litert(model: LiteRTModel, inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([model.invoke(x[np.newaxis]) for x in inputs])


def _run_micro(model: LiteRTModel, inputs: np.ndarray) -> tuple[np.ndarray, list[float]]:
    from tflite_micro.python.tflite_micro import runtime

    try:
        interpreter = runtime.Interpreter.from_file(str(model.path), arena_size=ARENA_BYTES)
        outputs, milliseconds = [], []
        for x in inputs:
            # Every time: the interpreter overwrites its input.
            interpreter.set_input(x[np.newaxis], 0)
            start = time.perf_counter()
            interpreter.invoke()
            milliseconds.append((time.perf_counter() - start) * 1e3)
            outputs.append(interpreter.get_output(0)[0].copy())
        # To stderr, where the device reads the arena's size.
        interpreter.print_allocations()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"TFLite Micro refuses it: {error}") from error
    return np.stack(outputs), milliseconds


if __name__ == "__main__":
    worker.serve(measure)
