"""The worker of the micro-sim device, in a fresh process; run by `edge.running.worker.call`."""

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.artifact import Artifact
from common.cli import UserError
from common.tflite.litert import LiteRTNetwork, Tensor
from common.tflite.micro_runtime import MicroRuntime, RefusedError
from edge.running import worker
from edge.running.loose_files import LooseFiles
from edge.running.measurement import compare_outputs
from edge.running.runner import pin, read_state, report_progress, timed
from edge.running.samples import correctness, noise_samples, sample_inputs

# After the images that are timed, the other samples are computed for the accuracy, for as long.
_ACCURACY_SECONDS = 60.0


def measure(request: dict) -> dict:
    """Runs a .tflite file in the TFLite Micro interpreter and in LiteRT, on the same samples.

    The accuracy is of all samples, as on other devices, or of those that the time allows. A file
    without an artifact gets noise.
    """
    pin(request["cores"])
    artifact, name = _opened(request)
    model = artifact.load_network(name)
    if any(tensor.quantization is None for tensor in (*model.inputs, *model.outputs)):
        raise UserError(
            "it has float input or output, but micro-sim compares integers; "
            "convert with --quantization=int8-ptq"
        )
    count, inputs = request["images"], _inputs(artifact, model, request["images"])
    timed_inputs, others = ([x[part] for x in inputs] for part in _halves(count))
    before = read_state()
    outputs, milliseconds, arena_bytes = run_micro(model.path, timed_inputs, len(model.outputs))
    after = read_state()
    every = outputs
    if len(others[0]):
        more, *_ = run_micro(model.path, others, len(outputs), _ACCURACY_SECONDS)
        every = [np.concatenate(both) for both in zip(outputs, more, strict=True)]
    reference = artifact.load_network(name, reference_kernels=True)
    return {
        "milliseconds": milliseconds,
        "arena_bytes": arena_bytes,
        "state_before": before,
        "state_after": after,
        # Two, because LiteRT's optimized kernels round differently from its reference kernels, in
        # every layer: a difference only from the optimized ones is not TFLite Micro's fault.
        "agreement": compare_outputs(model.run_each(timed_inputs), outputs),
        "agreement_reference": compare_outputs(reference.run_each(timed_inputs), outputs),
        **correctness(artifact, name, every if artifact.manifest["samples"] else None),
    }


def run_micro(
    path: Path, inputs: Sequence[np.ndarray], outputs: int = 1, seconds: float = math.inf
) -> tuple[list[np.ndarray], list[float], int]:
    """Runs a .tflite file in TFLite Micro, one sample after another.

    Args:
      path: path of the file.
      inputs: for each of its inputs at least one sample [n, ...], in the file's dtype.
      outputs: how many outputs it has.
      seconds: after this time, the remaining samples are not computed.

    Returns:
      The outputs, each [n, ...], the milliseconds of the process's CPU time for each sample, and
      the bytes of the arena.

    Raises:
      UserError: TFLite Micro refuses the file, or does not report its arena.
    """
    rows, milliseconds = [], []
    end = time.monotonic() + seconds
    try:
        runtime = MicroRuntime(path.read_bytes(), outputs)
        for index in range(len(inputs[0])):
            one = [x[index : index + 1] for x in inputs]
            milliseconds.append(timed_inference(runtime, one))
            rows.append([output[0] for output in runtime.outputs()])
            report_progress()
            if time.monotonic() >= end:
                break
    except RefusedError as error:
        raise UserError(f"TFLite Micro refuses it: {error.reason}") from error
    columns = [np.stack(column) for column in zip(*rows, strict=True)]
    return columns, milliseconds, runtime.arena_bytes()


def timed_inference(runtime: MicroRuntime, inputs: Sequence[np.ndarray]) -> float:
    """Computes one sample, and returns the milliseconds of the process's CPU time."""
    runtime.set_inputs(inputs)
    # Not the wall clock: other processes may run on the same core.
    return timed(runtime.invoke, time.process_time)


def _opened(request: dict) -> tuple[Artifact, str]:
    """Returns the artifact, and the file's name in it."""
    if request["artifact"] is None:
        path = Path(request["file"])
        return LooseFiles([path]), path.name
    return Artifact.open(request["artifact"]), request["file"]


def _inputs(artifact: Artifact, model: LiteRTNetwork, count: int) -> list[np.ndarray]:
    """Returns all samples, or noise, in the file's dtypes."""
    if not artifact.manifest["inputs"]:
        rng = np.random.default_rng(0)
        return [
            tensor.quantize(rng.uniform(-1, 1, (count, *tensor.shape[1:])))
            for tensor in model.inputs
        ]
    names = [one["array"] for one in sample_inputs(artifact.manifest)]
    arrays = artifact.sample_arrays(names)
    if arrays is None:
        noise = noise_samples(count, artifact.manifest)
        arrays = [noise[name] for name in names]
    return [
        _stored(artifact, index, array, tensor)
        for index, (array, tensor) in enumerate(zip(arrays, model.inputs, strict=True))
    ]


def _stored(artifact: Artifact, index: int, samples: np.ndarray, tensor: Tensor) -> np.ndarray:
    # One at a time: all samples as float32 may not fit into memory.
    return np.concatenate([tensor.quantize(artifact.preprocess(x[None], index)) for x in samples])


def _halves(count: int) -> tuple[slice, slice]:
    return slice(count), slice(count, None)


if __name__ == "__main__":
    worker.serve(measure)
