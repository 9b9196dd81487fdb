"""The part of `edge.profiling.run` that runs in a fresh process, by `edge.running.worker.call`."""

import numpy as np

from common.cli import UserError
from common.tflite.litert import LiteRTNetwork
from edge.profiling.litert import ProfiledModel
from edge.profiling.single import SingleOperator, operator_files
from edge.running import worker
from edge.running.runner import timed


def measure(request: dict) -> dict:
    """Times the request's files and their operators in interleaved rounds.

    Returns:
      For each file "whole_ms", the times of inferences without a profiler, one per round, and what
      `_Profiled` or `_Singles` collected.
    """
    collect = _Profiled if request["method"] == "profiler" else _Singles
    rng = np.random.default_rng(0)
    wholes, parts = [], []
    for path in request["files"]:
        whole = LiteRTNetwork(path, request["threads"])
        inputs = [tensor.quantize(rng.uniform(-1, 1, tensor.shape)) for tensor in whole.inputs]
        whole.set_inputs(inputs)
        wholes.append(whole)
        parts.append(collect(whole, request["threads"], inputs))
    times: list[list[float]] = [[] for _ in wholes]
    for index in range(request["warmup"] + request["runs"]):
        for whole, part, milliseconds in zip(wholes, parts, times, strict=True):
            # The first run in each round brings the file's weights back into the caches.
            whole.run()
            elapsed = timed(whole.run)
            part.run(counts=index >= request["warmup"])
            if index >= request["warmup"]:
                milliseconds.append(elapsed)
    return {
        "files": [
            {"whole_ms": milliseconds, **part.collected()}
            for milliseconds, part in zip(times, parts, strict=True)
        ]
    }


class _Profiled:
    """A file that runs with LiteRT's profiler."""

    def __init__(self, whole: LiteRTNetwork, threads: int, inputs: list[np.ndarray]):
        if (len(inputs), len(whole.outputs)) != (1, 1):
            raise UserError(
                f"{whole.path} has {len(inputs)} inputs and {len(whole.outputs)} outputs, and "
                "LiteRT's profiler is only used for one of each; use --method=single"
            )
        self.model = ProfiledModel(whole.path, threads)
        self.model.set_input(inputs[0])
        self.runs: list[list[int]] = []

    def run(self, counts: bool) -> None:
        self.model.run()
        events = self.model.run()
        self.names = [(event.name, event.index) for event in events]
        if counts:
            self.runs.append([event.microseconds for event in events])

    def collected(self) -> dict:
        """Returns names, indices in the file (None for a delegate's), and times by operator."""
        return {
            "names": [name for name, _ in self.names],
            "indices": [index for _, index in self.names],
            "microseconds": np.transpose(self.runs).tolist(),
        }


class _Singles:
    """The operators of a file, each as a separate file."""

    def __init__(self, whole: LiteRTNetwork, threads: int, inputs: list[np.ndarray]):
        rng = np.random.default_rng(0)
        self.operators = {
            index: SingleOperator(content, threads, rng)
            for index, content in enumerate(operator_files(whole.path))
            if content is not None
        }
        self.runs: list[list[float]] = []

    def run(self, counts: bool) -> None:
        times = []
        for operator in self.operators.values():
            operator.run()
            times.append(1e3 * timed(operator.run))
        if counts:
            self.runs.append(times)

    def collected(self) -> dict:
        """Returns the operators' indices in the file and their times."""
        return {
            "names": [None] * len(self.operators),
            "indices": list(self.operators),
            "microseconds": np.transpose(self.runs).tolist(),
        }


if __name__ == "__main__":
    worker.serve(measure)
