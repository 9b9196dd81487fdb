"""The interface between a benchmark and its devices: prepare, run, clean up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from common.artifact import Artifact
from common.cli import UserError

# Options of single devices, and their defaults; each device reads its own.
DEFAULT_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        # CPU cores to which the measurement is pinned; () for all. Not for ethosu-model.
        "cores": (),
        # The longest that one command on a device may be silent, in seconds.
        "timeout": 900.0,
        # Seconds of pause between two rounds of timed runs. Not for micro-sim and ethosu-model.
        "cooldown": 0.0,
        # ssh and coral: user@board, or a name from the user's ssh configuration.
        "host": None,
        "ssh_config": None,
        "board_python": "python3",
        # coral: the delegate's library, by a name that the dynamic linker finds.
        "edgetpu_library": "libedgetpu.so.1",
        # android: devices by serial number; () for the only one attached.
        "serial": (),
        "adb": "adb",
        # android: a file on this machine, or "device:PATH" for one on the device.
        "benchmark_model": "device:/data/local/tmp/benchmark_model",
        "delegates": ("xnnpack",),
        # ethosu-model: the NPU; None for the manifest's.
        "accelerator": None,
        # ethosu-model: what else Vela is told, as the fields of `VelaSettings`.
        **dict.fromkeys(("system_config", "memory_mode", "optimise", "arena_limit")),
        # browser: what computes, of wasm, webgpu and webnn.
        "browser_accelerators": ("wasm",),
        # browser: a program; None for the first that is found.
        "browser": None,
        # browser: how many phones to wait for, instead of a browser on this machine.
        "wait": 0,
        # browser: where its server listens; with a certificate and its key, by https.
        "listen": "127.0.0.1",
        "port": 0,
        "certificate": None,
        "key": None,
    }
)


class DeviceLostError(UserError):
    """The device does not answer any more."""


@dataclass(frozen=True)
class Job:
    """What to measure.

    Attributes:
      artifact: the artifact that contains the files, or `LooseFiles`.
      files: names of .tflite files of the artifact.
      threads: CPU threads, for devices with threads.
      warmup: inferences before the timed ones.
      runs: timed inferences.
      agreement_images: number of images on which a device is compared with LiteRT on this host,
        where not all of the artifact's samples are used.
      options: options of single devices; they replace those of `DEFAULT_OPTIONS`.

    Raises:
      ValueError: no device knows one of the options.
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
    """The result for one file on a device.

    Attributes:
      file: its name.
      values: fields of the measurement's record (docs/measurements.md); None after an error.
      error: one line that says why this file could not be measured, or None.
    """

    file: str
    values: dict | None = None
    error: str | None = None


def is_integer(entry: dict) -> bool:
    """Returns whether all inputs and outputs are integers, from a file's entry in the manifest."""
    return all(
        tensor.get("scale") is not None for end in ("inputs", "outputs") for tensor in entry[end]
    )


class Device(Protocol):
    """A place where .tflite files run."""

    def takes(self, entry: dict) -> bool:
        """Returns whether the device can run a file, from its entry in the manifest."""

    def prepare(self, job: Job) -> None:
        """Makes the device ready.

        Raises:
          UserError: the device cannot be used at all; nothing is left on it.
        """

    def run(self, job: Job) -> Iterator[Result]:
        """Measures the files; one that fails does not stop the others."""

    def clean_up(self) -> None:
        """Removes what `prepare` and `run` left on the device; always called."""
