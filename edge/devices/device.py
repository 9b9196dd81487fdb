"""What every device is to a benchmark: prepare, run, clean up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from common.artifact import Artifact
from common.cli import UserError

# What single devices want to know beyond the job; each reads its own.
DEFAULT_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        # CPU cores to which the measurement is pinned, () for all. Not for ethosu-model.
        "cores": (),
        # The longest that one command on a device may take, in seconds.
        "timeout": 900.0,
        # ssh and coral: user@board, or a name of the user's ssh configuration.
        "host": None,
        "ssh_config": None,
        "board_python": "python3",
        # coral: the delegate's library, as the dynamic linker finds it.
        "edgetpu_library": "libedgetpu.so.1",
        # android: devices by serial number, () for the only one there is.
        "serial": (),
        "adb": "adb",
        # android: a file here, or "device:PATH" there.
        "benchmark_model": "device:/data/local/tmp/benchmark_model",
        "delegates": ("xnnpack",),
        # ethosu-model: the NPU; None for the one in the manifest.
        "accelerator": None,
    }
)


class DeviceLostError(UserError):
    """The device does not answer any more."""


@dataclass(frozen=True)
class Job:
    """What to measure.

    Attributes:
      artifact: where the files come from.
      files: names of .tflite files of the artifact.
      threads: CPU threads, where a device has them.
      warmup: inferences before the timed ones.
      runs: timed inferences.
      agreement_images: images on which a device is compared with LiteRT on this host, where
        it cannot be all of the artifact's samples.
      options: what single devices want to know, over `DEFAULT_OPTIONS`.

    Raises:
      ValueError: an option that no device knows.
    """

    artifact: Artifact
    files: tuple[str, ...]
    threads: int
    warmup: int
    runs: int
    agreement_images: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        unknown = sorted(self.options.keys() - DEFAULT_OPTIONS.keys())
        if unknown:
            raise ValueError(f"options must be of {list(DEFAULT_OPTIONS)}, received: {unknown}")
        object.__setattr__(self, "options", {**DEFAULT_OPTIONS, **self.options})


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


def is_integer(entry: dict) -> bool:
    """Says whether a file's input and output are integers, by its entry in the manifest."""
    return all(entry[end].get("scale") is not None for end in ("input", "output"))


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
