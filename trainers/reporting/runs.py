"""What the report shows of a run: the settings and evaluations in its workdir."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cli import UserError
from common.storage.readers import read_records
from trainers.config import reading_record
from trainers.data.class_names import read_labels, shows_top5
from trainers.reporting.metrics import METRICS_FILE

# Every evaluation has these, and one of the scores; other numbers may be missing, such as the loss
# before the first step.
_NEEDED = ("step", "epoch")
# A classifier's, and a detector's.
SCORES = ("top1", "ap")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
      name: its workdir, as the user wrote it.
      settings: its config's settings, by name.
      versions: versions of the libraries, by name.
      command: the command that started it.
      records: its evaluations, by step; without a top-5 where that says little.
      warnings: messages about what could not be read.
    """

    name: str
    settings: dict[str, Any]
    versions: dict[str, Any]
    command: str
    records: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]

    @property
    def best(self) -> dict[str, Any] | None:
        """The evaluation with the highest score, the first of several."""
        return max(self.records, key=lambda record: record[self.score], default=None)

    @property
    def score(self) -> str | None:
        """The name of the score that counts: top-1 accuracy or average precision."""
        return next((name for name in SCORES for record in self.records if name in record), None)


def read_runs(workdirs: Sequence[Path]) -> list[Run]:
    """Reads the runs of several workdirs.

    Raises:
      UserError: a workdir is named twice, or is not one, or its settings cannot be read.

    Examples:
      >>> read_runs([Path("/tmp/digits")])[0].best["top1"]
      0.9805555555555555
    """
    for index, workdir in enumerate(workdirs):
        if workdir.resolve() in [other.resolve() for other in workdirs[:index]]:
            raise UserError(f"{workdir} is named twice; name every run once")
    return [read_run(workdir) for workdir in workdirs]


def read_run(workdir: Path) -> Run:
    """Reads one workdir; a damaged line in its metrics becomes a warning."""
    with reading_record(workdir, "omit this run") as record:
        if not isinstance(record["config"], dict):
            raise TypeError("its config has no names")
    records, warnings = _read_metrics(workdir / METRICS_FILE)
    if not _shows_top5(workdir):
        records = [{**record, "top5": None} for record in records]
    # The workdir is already the run's name.
    settings = {name: value for name, value in record["config"].items() if name != "workdir"}
    versions, command = record.get("versions"), str(record.get("command", ""))
    versions = versions if isinstance(versions, dict) else {}
    return Run(str(workdir), settings, versions, command, tuple(records), tuple(warnings))


def _shows_top5(workdir: Path) -> bool:
    """Returns whether a run has enough classes, or it is not known how many it has."""
    try:
        return shows_top5(len(read_labels(workdir)))
    except UserError:
        return True


def differing(runs: Sequence[Run], kind: str) -> dict[str, list[Any]]:
    """Returns what differs between runs: by name, the value of each run.

    Args:
      runs: at least one.
      kind: "settings" or "versions".
    """
    tables = [getattr(run, kind) for run in runs]
    names = dict.fromkeys(name for table in tables for name in table)
    values = {name: [table.get(name) for table in tables] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def _read_metrics(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    if not path.is_file():
        return [], [f"{path.parent} has no {path.name}: nothing was evaluated yet"]
    records = read_records(path, "omit this run")
    bad = list(records.bad)
    # If a step occurs twice, the later record counts.
    by_step = {}
    for number, record in records.found:
        is_scored = any(_is_number(record.get(name)) for name in SCORES)
        if is_scored and all(_is_number(record.get(name)) for name in _NEEDED):
            # What else is no number is as good as missing.
            by_step[record["step"]] = {
                name: value for name, value in record.items() if _is_number(value)
            }
        else:
            bad.append(number)
    warnings = [f"{path}:{line} is not an evaluation and is skipped" for line in sorted(bad)]
    if records.incomplete:
        warnings[-1] += "; the run was killed while writing it"
    return [by_step[step] for step in sorted(by_step)], warnings


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and not isinstance(value, bool)
