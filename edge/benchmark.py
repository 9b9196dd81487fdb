"""Measures the files of an artifact, or any .tflite files, on devices.

An artifact is the folder that `shufflenet convert` writes: .tflite files, a manifest that describes
them, class names and a few evaluation images. Other files get random inputs of their own types.

Example:
  shufflenet benchmark --artifact=artifact --device=host,micro-sim
  shufflenet benchmark --artifact=artifact --device=ssh --host=pi@raspberrypi
  shufflenet benchmark --files=a.tflite,b.tflite
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from absl import flags

from common import cli
from common.artifact import Artifact
from common.cli import UserError
from common.console.table import format_table
from common.files import check_appendable
from common.included import find_artifact
from edge.devices import DEVICES, Device, Job
from edge.devices import flags as device_flags
from edge.devices.flags import MAX_RUNS, MAX_THREADS
from edge.provenance import busy_note
from edge.records import batch_notes, make_record
from edge.running.loose_files import LooseFiles
from edge.running.measurement import append_measurements, describe_machine, device_name

_ARTIFACT = flags.DEFINE_string(
    "artifact",
    None,
    "The folder that shufflenet convert wrote, or an example that travels with the package: "
    "cifar10, or bccd, a detector.",
)
_DEVICE = flags.DEFINE_list(
    "device",
    ["host"],
    "Devices, separated by commas: host (LiteRT on this machine), ssh (LiteRT on a board), android "
    "(benchmark_model on phones), coral (an Edge TPU), micro-sim (TFLite Micro's interpreter on "
    "this machine: its memory, called arena, and its agreement with LiteRT; its times are a "
    "simulation), ethosu-model (Vela's estimate for an Ethos-U), browser (LiteRT.js in a browser "
    "here or, with --wait, on phones).",
)
_FILES = flags.DEFINE_list(
    "files",
    [],
    "Names of the artifact's files to measure; by default all that the device can take. Without "
    "--artifact, paths of .tflite files.",
)
_THREADS = flags.DEFINE_integer("threads", 1, "CPU threads.")
_WARMUP = flags.DEFINE_integer(
    "warmup",
    10,
    "Minimum number of inferences before the timed ones; more follow until the times are stable. "
    "0: none.",
)
_RUNS = flags.DEFINE_integer("runs", 50, "Timed inferences of each file; a minimum on android.")
_AGREEMENT_IMAGES = flags.DEFINE_integer(
    "agreement_images",
    32,
    "Images on which micro-sim is timed and compared with LiteRT, in LSB (steps of the integer "
    "output). Its accuracy is of all samples, or of those that one more minute allows.",
)
_OUTPUT = flags.DEFINE_string(
    "output", "measurements.jsonl", "File to which one JSON line per measurement is appended."
)
device_flags.define()
flags.adopt_module_key_flags(device_flags)

_HEADERS = (
    *("file", "device", "KB", "accuracy", "median ms", "p10", "p90", "min", "init ms"),
    *("peak MB", "arena KB", "max LSB", "<=1 LSB", "max LSB ref", "<=1 LSB ref"),
)
_NONE = "-"
# Their times depend on what else this machine does.
_ON_THIS_MACHINE = ("host", "micro-sim")


@dataclass(frozen=True)
class BenchmarkConfig:
    """The flags, checked."""

    artifact: Path | None
    devices: tuple[str, ...]
    files: tuple[str, ...]
    threads: int
    warmup: int
    runs: int
    agreement_images: int
    output: Path
    options: Mapping[str, Any]

    def __post_init__(self):
        if self.artifact is None and not self.files:
            raise UserError(
                "--artifact is missing; name a folder that shufflenet convert wrote, or .tflite "
                "files with --files"
            )
        unknown = [name for name in self.devices if name not in DEVICES]
        if unknown or not self.devices:
            raise UserError(
                f"--device must name some of {', '.join(DEVICES)}; received {','.join(unknown)!r}"
            )
        for name, low in {"threads": 1, "warmup": 0, "runs": 1, "agreement_images": 1}.items():
            high = MAX_THREADS if name == "threads" else MAX_RUNS
            cli.check_bounds(name, getattr(self, name), low, high)


def main() -> None:
    """Reads the flags, measures, appends to the output and prints a table."""
    config = BenchmarkConfig(
        artifact=find_artifact(_ARTIFACT.value) if _ARTIFACT.value else None,
        devices=tuple(_DEVICE.value),
        files=tuple(_FILES.value),
        threads=_THREADS.value,
        warmup=_WARMUP.value,
        runs=_RUNS.value,
        agreement_images=_AGREEMENT_IMAGES.value,
        output=Path(_OUTPUT.value),
        options=device_flags.read(),
    )
    job = _make_job(config)
    check_appendable(config.output)
    records, errors = [], []
    for device in config.devices:
        try:
            for record in _measure(job, device):
                append_measurements(config.output, [record])
                records.append(record)
        except UserError as error:
            errors.append(str(error))
    if records:
        _print_table(records)
    if errors:
        raise UserError("; ".join(errors))
    if not records:
        raise UserError("no file could be measured; see the lines above")


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


def _make_job(config: BenchmarkConfig) -> Job:
    if config.artifact is None:
        artifact, files = LooseFiles([Path(name) for name in config.files]), ()
    else:
        artifact, files = Artifact.open(config.artifact), config.files
    for name in files:
        artifact.path(name)  # Rejects an unknown name before anything is measured.
    return Job(
        artifact=artifact,
        files=files,  # If empty, `_measure` chooses them for each device.
        threads=config.threads,
        warmup=config.warmup,
        runs=config.runs,
        agreement_images=config.agreement_images,
        options=config.options,
    )


def _measure(job: Job, device_name: str) -> Iterator[dict]:
    """Yields a record for each file that the device could run; reports the others on stderr."""
    device = DEVICES[device_name]()
    job = replace(job, files=job.files or _files_for(device, job.artifact))
    machine = describe_machine()
    try:
        device.prepare(job)
        for result in device.run(job):
            if result.error is not None:
                print(f"{result.file} on {device_name}: {result.error}", file=sys.stderr)
            else:
                yield make_record(job, "benchmark", device_name, result, machine)
    finally:
        device.clean_up()


def _files_for(device: Device, artifact: Artifact) -> tuple[str, ...]:
    """Returns the files that a device takes; if it takes none, all, so that it says why."""
    names = sorted(artifact.files)
    return tuple(name for name in names if device.takes(artifact.files[name])) or tuple(names)


def _print_table(records: list[dict]) -> None:
    rows = [_row(record) for record in records]
    headers = _HEADERS
    if any("keras_agreement" in record for record in records):
        headers = (*_HEADERS, "rms error")
        rows = [
            [*row, _rms(record.get("keras_agreement"))]
            for row, record in zip(rows, records, strict=True)
        ]
    print(format_table(headers, rows))
    here = [record["machine"] for record in records if record["device"] in _ON_THIS_MACHINE]
    if here and (note := busy_note(here[0])):
        print(note)
    for line in batch_notes(records):
        print(line)
    if headers != _HEADERS:
        print("rms error: from the Keras model's outputs, in their standard deviations.")
    if any("agreement" in record for record in records):
        print("LSB: difference from LiteRT's optimized kernels, in steps of the integer output;")
        print("ref: from its reference kernels.")
    if any(record["latency_ms"]["median"] is None for record in records):
        print("~: the mean, because this version of benchmark_model prints no median.")


def _row(record: dict) -> list[str]:
    latency = record["latency_ms"]
    median = latency["median"]
    return [
        record["file"],
        device_name(record),
        _scaled(record["bytes"], 1e3),
        _accuracy(record),
        f"~{latency['mean']:.3f}" if median is None else f"{median:.3f}",
        *(_milliseconds(latency[key]) for key in ("p10", "p90", "min")),
        _scaled(record.get("initialization_ms"), 1),
        _scaled(record.get("peak_memory_bytes"), 1e6),
        _scaled(record.get("arena_bytes"), 1e3),
        *_agreement(record.get("agreement")),
        *_agreement(record.get("agreement_reference")),
    ]


def _accuracy(record: dict) -> str:
    share, precision = record["accuracy"], record.get("ap")
    # Devices may differ in the number of images.
    images = f"of {record['accuracy_images']}"
    if precision is not None:
        return f"AP {_percent(precision)} {images}"
    return _NONE if share is None else f"{_percent(share)} {images}"


def _agreement(agreement: dict | None) -> list[str]:
    if agreement is None or "max_lsb" not in agreement:
        return [_NONE, _NONE]
    return [str(agreement["max_lsb"]), _percent(agreement["within_1_lsb"])]


def _rms(agreement: dict | None) -> str:
    return _NONE if agreement is None else f"{agreement['rms']:.2g}"


def _milliseconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _scaled(value: float | None, unit: float) -> str:
    return _NONE if value is None else f"{value / unit:.1f}"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.1f}%"


if __name__ == "__main__":
    entry_point()
