"""This machine: LiteRT on its CPU."""

from collections.abc import Iterator

from common.manifest import SAMPLES
from edge.devices import through_runner
from edge.devices.device import Job, Result


class Host:
    """Measures with LiteRT on this machine's CPU.

    Initialization, first inference, memory and accuracy are measured in a fresh process per file;
    the latencies of all files in one more process, in interleaved rounds.
    """

    def takes(self, entry: dict) -> bool:
        """Returns True: LiteRT runs every file."""
        return True

    def prepare(self, job: Job) -> None:
        """Does nothing: LiteRT is a dependency."""

    def run(self, job: Job) -> Iterator[Result]:
        """Measures the files; one that LiteRT refuses does not stop the others."""
        has_samples = job.artifact.manifest["samples"] is not None
        samples = str((job.artifact.folder / SAMPLES).resolve()) if has_samples else None
        place = through_runner.place_here(job, samples)
        for result, _ in through_runner.measure(job, place):
            yield result

    def clean_up(self) -> None:
        """Does nothing: the processes have ended."""
