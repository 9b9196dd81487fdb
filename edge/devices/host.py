"""This machine: LiteRT on its CPU."""

from collections.abc import Iterator

from edge import worker
from edge.devices.device import Job, Result
from edge.measurement import statistics
from trainers.cli import UserError

_WORKER = "edge.litert_worker"


class Host:
    """Measures with LiteRT on this machine's CPU.

    Initialization, memory and accuracy come from a fresh process a file; the latencies of
    all files from one process more, where they take turns.
    """

    def takes(self, entry: dict) -> bool:
        """Says yes: LiteRT runs every file."""
        return True

    def prepare(self, job: Job) -> None:
        """Does nothing: LiteRT is a dependency."""

    def run(self, job: Job) -> Iterator[Result]:
        """Measures the files; one that LiteRT refuses does not stop the others."""
        singles, errors = {}, {}
        for name in job.files:
            request = {"task": "single", "file": name, **_common(job)}
            try:
                singles[name] = worker.call(_WORKER, request).values
            except UserError as error:
                errors[name] = str(error)
        milliseconds = _time_interleaved(job, list(singles))
        for name in job.files:
            if name in errors:
                yield Result(name, error=errors[name])
            else:
                latency = statistics(milliseconds[name])
                yield Result(name, values={"latency_ms": latency, **singles[name]})

    def clean_up(self) -> None:
        """Does nothing: the processes have ended."""


def _time_interleaved(job: Job, files: list[str]) -> dict[str, list[float]]:
    if not files:
        return {}
    request = {"task": "interleaved", "files": files, "warmup": job.warmup, "runs": job.runs}
    return worker.call(_WORKER, {**request, **_common(job)}).values["milliseconds"]


def _common(job: Job) -> dict:
    return {"artifact": str(job.artifact.folder), "threads": job.threads}
