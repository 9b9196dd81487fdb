"""A simulated microcontroller: TFLite Micro's own interpreter, run on this machine."""

import importlib.util
from collections.abc import Iterator

from common.cli import UserError
from edge.devices.device import Job, Result, is_integer
from edge.running import worker
from edge.running.measurement import drift, statistics

_WORKER = "edge.running.micro_worker"


class MicroSim:
    """Measures what TFLite Micro computes and how much memory it needs.

    The memory, called arena, is what TFLite Micro's recording allocator reports after a run; on
    this 64-bit host its bookkeeping takes somewhat more than on a 32-bit microcontroller. The times
    are those of the reference kernels on this host: a simulation, useful only to compare graphs.
    """

    def takes(self, entry: dict) -> bool:
        """Returns whether input and output are integers: agreement is counted in their steps."""
        return is_integer(entry)

    def prepare(self, job: Job) -> None:
        """Checks that the interpreter is installed.

        Raises:
          UserError: it is not installed.
        """
        if importlib.util.find_spec("tflite_micro") is None:
            raise UserError(
                "device micro-sim needs TFLite Micro's interpreter; "
                "pip install 'keras_shufflenet[micro]'"
            )

    def run(self, job: Job) -> Iterator[Result]:
        """Measures each file in a separate process, so that the interpreter may crash there."""
        for name in job.files:
            try:
                yield Result(name, values=_measure(job, name))
            except UserError as error:
                yield Result(name, error=str(error))

    def clean_up(self) -> None:
        """Does nothing: the processes have ended."""


def _measure(job: Job, name: str) -> dict:
    folder = job.artifact.folder
    request = {
        "artifact": None if folder is None else str(folder),
        "file": name if folder is not None else str(job.artifact.path(name).resolve()),
        "images": job.agreement_images,
        "cores": list(job.options["cores"]),
    }
    found = worker.call(_WORKER, request, job.options["timeout"])
    milliseconds = found["milliseconds"]
    return {
        "simulation": True,
        "threads": 1,
        "warmup": 0,
        "latency_ms": statistics(milliseconds),
        "drift": drift(milliseconds),
        **{key: value for key, value in found.items() if key != "milliseconds"},
    }
