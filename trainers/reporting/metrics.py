"""The file of a run's evaluations, one JSON object per line."""

import contextlib
import json
from pathlib import Path
from typing import Any

from common import files

METRICS_FILE = "metrics.jsonl"
NEVER = -1  # the step of the last evaluation if there was none


def append(workdir: Path, record: dict[str, Any]) -> None:
    """Appends one evaluation."""
    with (workdir / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def keep_until(step: int, workdir: Path) -> int:
    """Removes the evaluations after the step that a run resumes from.

    Returns:
      The step of the last remaining evaluation, or `NEVER`.
    """
    path, records = workdir / METRICS_FILE, []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        # The last line may be incomplete, if the run was killed while writing it.
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    kept = [record for record in records if record["step"] <= step]
    files.write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
    return kept[-1]["step"] if kept else NEVER


def last_evaluation(workdir: Path) -> dict[str, Any]:
    """Returns the last evaluation of a finished run.

    Raises:
      OSError, IndexError, ValueError: the file cannot be read, is empty, or its last line is
        damaged.

    Examples:
      >>> last_evaluation(Path("/tmp/digits"))["top1"]
      0.9805555555555555
    """
    lines = (workdir / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    return json.loads(lines[-1])
