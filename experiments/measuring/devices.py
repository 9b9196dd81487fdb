"""Measures files on any device of `edge.devices`, pass by pass, and resumes after a stop."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.artifact import Artifact, sha256
from common.cli import UserError
from common.console.progress import Progress
from edge.devices import DEVICES, Job
from edge.running import side_by_side
from edge.running.measurement import append_measurements, now, read_measurements
from experiments.harness.experiment import Settings

# Timed inferences of a file before the next file's turn.
_INVOKES = 1
_WARMUP = 5


@dataclass(frozen=True)
class File:
    """One of an artifact's .tflite files."""

    artifact: Path
    name: str

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.artifact / self.name


Groups = Mapping[str, Mapping[str, File]]
# By group and label, milliseconds of every pass; NaN where a device could not run the file.
Times = dict[str, dict[str, np.ndarray]]


def measure(name: str, groups: Groups, settings: Settings) -> Times:
    """Measures files; those of a group are compared, so they are measured together.

    Every pass measures all groups once, so that a slow minute does not hit only one group. On the
    host a group's files run in interleaved rounds in a fresh process on one core, with one thread;
    on other devices they run one after the other. Each result is written to a file in
    `settings.output` at once; after a stop the same call resumes there.

    Args:
      name: of the experiment, for the name of that file.
      groups: by group and label, the file.
      settings: the device, and how often.

    Returns:
      By group and label the medians of the passes in milliseconds, [passes]; NaN where the
      device could not run the file, which is reported on stderr.

    Raises:
      UserError: the device cannot be used, or no file could be measured.
    """
    settings.output.mkdir(parents=True, exist_ok=True)
    journal = unfinished_path(settings.output, name)
    keys = {group: _key(files, settings) for group, files in groups.items()}
    known = _read(journal, keys)
    total = settings.passes * len(groups)
    with Progress("measuring", total, start=len(known), unit="run") as progress:
        for turn in range(settings.passes):
            for group, files in groups.items():
                if (group, turn) not in known:
                    record = _measure_group(group, files, settings)
                    place = {"key": keys[group], "group": group, "pass": turn, "date": now()}
                    append_measurements(journal, [{**place, **record}])
                    known[group, turn] = record["milliseconds"]
                    progress.update(len(known))
    times = {
        group: {
            label: np.array([known[group, turn][label] for turn in range(settings.passes)], float)
            for label in files
        }
        for group, files in groups.items()
    }
    if all(np.isnan(row).all() for rows in times.values() for row in rows.values()):
        raise UserError(f"no file could be measured on {settings.device}; the lines above say why")
    return times


def run_on_device(name: str, file: File, settings: Settings) -> dict | None:
    """Returns what a device other than the host measured of a file, None if it could not run it.

    Args:
      name: of the file, for messages on stderr.
      file: the file to run.
      settings: the device.

    Raises:
      UserError: the device cannot be used at all.
    """
    job = Job(
        artifact=Artifact.open(file.artifact),
        files=(file.name,),
        threads=1,
        warmup=_WARMUP,
        runs=settings.runs,
        agreement_images=1,
        options=settings.options,
    )
    device = DEVICES[settings.device]()
    if not device.takes(job.artifact.files[file.name]):
        print(f"{name}: not a file for {settings.device}", file=sys.stderr)
        return None
    try:
        device.prepare(job)
        (result,) = device.run(job)
    finally:
        device.clean_up()
    if result.error is not None:
        print(f"{name} on {settings.device}: {result.error}", file=sys.stderr)
    return result.values


def unfinished_path(output: Path, name: str) -> Path:
    """Returns the path of an experiment's measurements until its result is written."""
    return output / f"{name}.unfinished.jsonl"


def describe_device(output: Path, name: str) -> dict | None:
    """Returns how the device of the measurements in `unfinished_path` describes itself."""
    journal = unfinished_path(output, name)
    records = read_measurements(journal) if journal.is_file() else []
    said = [record for record in records if record.get("machine") is not None]
    return {key: said[-1][key] for key in ("place", "machine")} if said else None


def _read(journal: Path, keys: Mapping[str, str]) -> dict[tuple[str, int], dict]:
    """Returns by group and pass what was measured before a stop, with the same files and device."""
    if not journal.is_file():
        return {}
    records = read_measurements(journal)
    found = {
        (record["group"], record["pass"]): record["milliseconds"]
        for record in records
        if {"group", "pass", "key", "milliseconds"} <= record.keys()
        and keys.get(record["group"]) == record["key"]
    }
    usable = f"{len(found)} of {len(records)} runs have the same files and settings"
    print(f"{journal}: {usable}", file=sys.stderr)
    return found


def _key(files: Mapping[str, File], settings: Settings) -> str:
    """Returns a hash of what a group's times depend on."""
    contents = {label: sha256(file.path) for label, file in files.items()}
    how = [settings.device, settings.runs, settings.seconds, dict(settings.options)]
    return hashlib.sha256(json.dumps([contents, how], sort_keys=True).encode()).hexdigest()[:16]


def _measure_group(group: str, files: Mapping[str, File], settings: Settings) -> dict:
    """Returns milliseconds by label, None where the device failed, and the device's description."""
    if settings.device == "host":
        return {"milliseconds": _measure_on_host(group, files, settings)}
    found = {
        label: run_on_device(f"{group}, {label}", file, settings) for label, file in files.items()
    }
    said = next((values for values in found.values() if values is not None), {})
    return {
        "milliseconds": {label: _milliseconds(values) for label, values in found.items()},
        "place": said.get("place"),
        "machine": said.get("machine"),
    }


def _measure_on_host(group: str, files: Mapping[str, File], settings: Settings) -> dict[str, float]:
    request = {
        "files": [str(file.path) for file in files.values()],
        "rounds": settings.runs,
        "invokes": _INVOKES,
        "seconds": settings.seconds,
        # One thread computes: its CPU time is the latency of a quiet machine, even on a busy one,
        # where an inference longer than a time slice waits for other processes.
        "clock": "thread",
        "core": next(iter(settings.options["cores"]), 0),
    }
    times = side_by_side.call("edge.running.timing", group, request)["milliseconds"]
    return {label: float(np.median(row)) for label, row in zip(files, times, strict=True)}


def _milliseconds(values: dict | None) -> float | None:
    if values is None:
        return None
    latency = values["latency_ms"]
    # Old versions of Android's benchmark_model print only the mean.
    return latency["mean"] if latency["median"] is None else latency["median"]
