"""What the host device does in fresh processes; run by `edge.worker.call`."""

import resource
import sys
import time
from pathlib import Path

import numpy as np

from converters.artifact import Artifact
from edge import worker
from trainers.litert import LiteRTModel

_INVOKES_FOR_MEMORY = 3


def measure(request: dict) -> dict:
    """Runs the task that the request names: "single" or "interleaved"."""
    artifact = Artifact.open(request["artifact"])
    if request["task"] == "single":
        return _measure_single(artifact, request["file"], request["threads"])
    models = [artifact.load(name, request["threads"]) for name in request["files"]]
    timings = time_interleaved(models, request["warmup"], request["runs"])
    return {"milliseconds": dict(zip(request["files"], timings, strict=True))}


def time_interleaved(models: list[LiteRTModel], warmup: int, runs: int) -> list[list[float]]:
    """Times models in turn, run by run, so that a noisy moment hits all of them alike.

    Returns:
      For each model `runs` times of one inference in milliseconds, without setting the input.
    """
    inputs = [_noise(model) for model in models]
    timings: list[list[float]] = [[] for _ in models]
    for index in range(warmup + runs):
        for model, x, times in zip(models, inputs, timings, strict=True):
            # Every time: a runtime may reuse the input's memory.
            model.set_input(x)
            start = time.perf_counter()
            model.run()
            if index >= warmup:
                times.append((time.perf_counter() - start) * 1e3)
    return timings


def _measure_single(artifact: Artifact, name: str, threads: int) -> dict:
    before = _peak_memory()
    start = time.perf_counter()
    model = artifact.load(name, threads)
    initialized = time.perf_counter()
    x = _noise(model)
    for _ in range(_INVOKES_FOR_MEMORY):
        model.invoke(x)
    peak = _peak_memory()
    return {
        "initialization_ms": (initialized - start) * 1e3,
        "peak_memory_bytes": peak,
        "model_memory_bytes": peak - before,
        # Last: the samples' own memory must not count.
        **_measure_accuracy(artifact, model),
    }


def _measure_accuracy(artifact: Artifact, model: LiteRTModel) -> dict:
    samples = artifact.samples()
    if samples is None:
        return {"accuracy": None, "accuracy_images": 0}
    images, labels = samples
    predicted = model.predict(artifact.preprocess(images)).argmax(axis=-1)
    return {"accuracy": float((predicted == labels).mean()), "accuracy_images": len(labels)}


def _noise(model: LiteRTModel) -> np.ndarray:
    x = np.random.default_rng(0).uniform(-1, 1, model.input_shape)
    return model.quantize_input(x)


def _peak_memory() -> int:
    """Returns the largest resident memory of this process so far, in bytes."""
    # ru_maxrss would do, but on Linux a new process inherits its parent's.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    worker.serve(measure)
