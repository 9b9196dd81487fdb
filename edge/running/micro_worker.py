"""The worker of the micro-sim device, in a fresh process; run by `edge.running.worker.call`."""

import math
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from common.artifact import Artifact
from common.cli import UserError
from common.tflite.litert import LiteRTModel
from common.tflite.micro_runtime import MicroRuntime, RefusedError
from edge.running import worker
from edge.running.measurement import accuracy, compare_outputs, noise_images
from edge.running.runner import pin, read_state, report_progress, timed

# After the images that are timed, the other samples are computed for the accuracy, for as long.
_ACCURACY_SECONDS = 60.0


def measure(request: dict) -> dict:
    """Runs a .tflite file in the TFLite Micro interpreter and in LiteRT, on the same images.

    The accuracy is of all samples, as on other devices, or of those that the time allows.
    """
    pin(request["cores"])
    artifact = Artifact.open(request["artifact"])
    model = artifact.load(request["file"])
    if model.input_quantization is None or model.output_quantization is None:
        raise UserError(
            "it has float input or output, but micro-sim compares integers; "
            "convert with --quantization=int8-ptq"
        )
    images, labels = _images(artifact, request["images"])
    # One at a time: all samples as float32 may not fit into memory.
    inputs = np.concatenate([model.quantize_input(artifact.preprocess(x[None])) for x in images])
    timed_inputs, others = np.split(inputs, [request["images"]])
    before = read_state()
    outputs, milliseconds, arena_bytes = run_micro(model.path, timed_inputs)
    after = read_state()
    every = outputs
    if len(others):
        every = np.concatenate([outputs, run_micro(model.path, others, _ACCURACY_SECONDS)[0]])
    reference = artifact.load(request["file"], reference_kernels=True)
    return {
        "milliseconds": milliseconds,
        "arena_bytes": arena_bytes,
        "state_before": before,
        "state_after": after,
        # Two, because LiteRT's optimized kernels round differently from its reference kernels, in
        # every layer: a difference only from the optimized ones is not TFLite Micro's fault.
        "agreement": compare_outputs(_run_litert(model, timed_inputs), outputs),
        "agreement_reference": compare_outputs(_run_litert(reference, timed_inputs), outputs),
        **accuracy(every, None if labels is None else labels[: len(every)]),
    }


def run_micro(
    path: Path, inputs: Iterable[np.ndarray], seconds: float = math.inf
) -> tuple[np.ndarray, list[float], int]:
    """Runs a .tflite file in TFLite Micro, one input after another.

    Args:
      path: path of the file, which has one input and one output.
      inputs: at least one input in the file's dtype, without a batch axis.
      seconds: after this time, the remaining inputs are not computed.

    Returns:
      The stacked outputs, the milliseconds of the process's CPU time for each, and the bytes of the
      arena.

    Raises:
      UserError: TFLite Micro refuses the file, or does not report its arena.
    """
    outputs, milliseconds = [], []
    end = time.monotonic() + seconds
    try:
        runtime = MicroRuntime(path.read_bytes())
        for x in inputs:
            runtime.set_inputs([x[np.newaxis]])
            # Not the wall clock: other processes may run on the same core.
            milliseconds.append(timed(runtime.invoke, time.process_time))
            outputs.append(runtime.outputs()[0][0])
            report_progress()
            if time.monotonic() >= end:
                break
    except RefusedError as error:
        raise UserError(f"TFLite Micro refuses it: {error.reason}") from error
    return np.stack(outputs), milliseconds, runtime.arena_bytes()


def _images(artifact: Artifact, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    return artifact.samples() or (noise_images(count, artifact.input_shape), None)


def _run_litert(model: LiteRTModel, inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([model.invoke(x[np.newaxis]) for x in inputs])


if __name__ == "__main__":
    worker.serve(measure)
