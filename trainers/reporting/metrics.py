"""The file that a run's evaluations are written down in, one JSON object a line."""

import json
from pathlib import Path
from typing import Any

METRICS_FILE = "metrics.jsonl"


def last_evaluation(workdir: Path) -> dict[str, Any]:
    """Returns the last evaluation of a run that has ended.

    Raises:
      OSError, IndexError, ValueError: the file cannot be read, is empty, or its last line is
        damaged.

    Examples:
      >>> last_evaluation(Path("/tmp/digits"))["top1"]
      0.9805555555555555
    """
    lines = (workdir / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    return json.loads(lines[-1])
