"""The file of a run's evaluations, one JSON object per line."""

import json
from pathlib import Path
from typing import Any

from common import files
from common.storage.readers import parse_json, read_lines, read_records

METRICS_FILE = "metrics.jsonl"
NEVER = -1  # the step of the last evaluation if there was none


def append(workdir: Path, record: dict[str, Any]) -> None:
    """Appends one evaluation."""
    files.append_text(workdir / METRICS_FILE, json.dumps(record) + "\n")


def keep_until(step: int, workdir: Path) -> int:
    """Removes the evaluations after the step that a run resumes from, and damaged lines.

    Returns:
      The step of the last remaining evaluation, or `NEVER`.
    """
    path = workdir / METRICS_FILE
    records = read_records(path, "remove it").found if path.exists() else []
    steps = ((record.get("step"), record) for _, record in records)
    kept = [record for at, record in steps if type(at) is int and at <= step]
    files.write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
    return kept[-1]["step"] if kept else NEVER


def last_evaluation(workdir: Path) -> dict[str, Any]:
    """Returns the last evaluation of a finished run.

    Raises:
      OSError, UserError, IndexError, ValueError: the file cannot be read, is empty, or its last
        line is damaged.

    Examples:
      >>> last_evaluation(Path("/tmp/digits"))["top1"]
      0.9805555555555555
    """
    return parse_json(read_lines(workdir / METRICS_FILE, "train again")[-1])
