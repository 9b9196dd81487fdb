"""What every device is to a benchmark: prepare, run, clean up."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from converters.artifact import Artifact


@dataclass(frozen=True)
class Job:
    """What to measure.

    Attributes:
      artifact: where the files come from.
      files: names of .tflite files of the artifact.
      threads: CPU threads, where a device has them.
      warmup: inferences before the timed ones.
      runs: timed inferences.
      agreement_images: images on which a device is compared with LiteRT on this host.
    """

    artifact: Artifact
    files: tuple[str, ...]
    threads: int
    warmup: int
    runs: int
    agreement_images: int


@dataclass(frozen=True)
class Result:
    """What a device found about one file.

    Attributes:
      file: its name.
      values: what goes into the measurement's record (docs/measurements.md); None after an
        error.
      error: one line why this file could not be measured, or None.
    """

    file: str
    values: dict | None = None
    error: str | None = None


class Device(Protocol):
    """A place where .tflite files run."""

    def takes(self, entry: dict) -> bool:
        """Says whether a file is for this device, by its entry in the manifest."""

    def prepare(self, job: Job) -> None:
        """Makes the device ready.

        Raises:
          UserError: the device cannot be used at all; nothing was left on it.
        """

    def run(self, job: Job) -> Iterator[Result]:
        """Measures the files; one that fails does not stop the others."""

    def clean_up(self) -> None:
        """Removes what `prepare` and `run` left on the device; called whatever happened."""
