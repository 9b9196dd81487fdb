"""The record of a measurement (docs/measurements.md), for all commands that write one."""

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from edge.devices import Job, Result
from edge.running.measurement import SCHEMA_VERSION, now


def make_record(job: Job, command: str, device: str, result: Result, machine: dict) -> dict:
    """Returns the record of a file that was measured.

    Args:
      job: what was to be measured.
      command: the module of `edge` that runs, such as "benchmark".
      device: the device's name.
      result: without an error; its values replace those of the job.
      machine: this machine, from before the measurement.
    """
    entry = job.artifact.files[result.file]
    return {
        "schema_version": SCHEMA_VERSION,
        "date": now(),
        "command": shlex.join(["shufflenet", command, *sys.argv[1:]]),
        "device": device,
        "artifact": None if job.artifact.folder is None else str(job.artifact.folder),
        "model": job.artifact.name if job.artifact.folder is not None else Path(result.file).stem,
        "file": result.file,
        "sha256": entry["sha256"],
        "bytes": entry["bytes"],
        "graph": entry["graph"],
        "quantization": entry["quantization"],
        **_batch(entry),
        "threads": job.threads,
        "cores": list(job.options["cores"]),
        "warmup": job.warmup,
        "cooldown": job.options["cooldown"],
        "machine": machine,
        **result.values,
    }


def _batch(entry: dict) -> dict:
    """Returns how many examples an inference is of, if not of one."""
    batches = [one["shape"][0] for one in entry.get("inputs", []) if len(one["shape"]) > 1]
    return {"batch": batches[0]} if batches and batches[0] > 1 else {}


def batch_notes(records: Iterable[dict]) -> list[str]:
    """Returns a line for each number of examples above 1 that files take in an inference."""
    batches = {record["file"]: record.get("batch", 1) for record in records}
    lines = []
    for batch in sorted(set(batches.values()) - {1}):
        files = [name for name, each in batches.items() if each == batch]
        whose = "" if len(files) == len(batches) else f" of {', '.join(files)}"
        lines.append(f"Times{whose} are of an inference of {batch} examples.")
    return lines
