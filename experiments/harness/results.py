"""Results as files: NAME.json with all of the result, NAME.md, and the pictures."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib

from common.cli import UserError
from common.console.table import format_table, markdown_table
from common.files import atomic_write, write_json, write_text
from common.storage.readers import read_json
from edge.provenance import where_and_when
from experiments.harness.catalogue import Experiment
from experiments.harness.experiment import Picture, Result, Settings

SCHEMA_VERSION = 1
_FIELDS = ("name", "title", "source", "run", "settings", "tables", "verdicts", "pictures", "data")


def save(experiment: Experiment, settings: Settings, run: dict, result: Result) -> dict:
    """Writes a result into `settings.output` and returns its record.

    Args:
      experiment: which one ran.
      settings: with the folder.
      run: what `edge.provenance.describe_run` returned before the run.
      result: what was found.
    """
    settings.output.mkdir(parents=True, exist_ok=True)
    files = [_draw(experiment, settings.output, picture) for picture in result.pictures]
    record = {
        "schema_version": SCHEMA_VERSION,
        "name": experiment.name,
        "title": experiment.title,
        "source": experiment.source,
        "run": run,
        "settings": fingerprint(settings),
        "tables": [asdict(table) for table in result.tables],
        "verdicts": list(result.verdicts),
        "pictures": files,
        "data": dict(result.data),
    }
    write_text(settings.output / f"{experiment.name}.md", to_markdown(record) + "\n")
    # Last: a result that has its JSON file is complete.
    write_json(settings.output / f"{experiment.name}.json", record)
    return record


def fingerprint(settings: Settings) -> dict[str, Any]:
    """Returns the settings that a result depends on, as JSON values."""
    names = ("device", "passes", "runs", "seconds", "options")
    return json.loads(json.dumps({name: getattr(settings, name) for name in names}, default=dict))


def load(folder: Path, name: str) -> dict | None:
    """Returns the record of a result, or None if there is none.

    Raises:
      UserError: the file is damaged, or was written by another version.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    record = read_json(path, "remove it and run again")
    known = isinstance(record, dict) and record.get("schema_version") == SCHEMA_VERSION
    if not known or not set(_FIELDS) <= record.keys():
        raise UserError(f"{path} is not a result of this version; remove it and run again")
    return record


def to_text(record: dict) -> str:
    """Returns tables and verdicts for a terminal."""
    parts = []
    for table in record["tables"]:
        body = format_table(table["headers"], table["rows"], left_columns=1)
        parts.append(f"{table['title']}\n{body}" + (f"\n{table['note']}" if table["note"] else ""))
    return "\n\n".join([*parts, *record["verdicts"]])


def to_markdown(record: dict) -> str:
    """Returns a section of a document that has the pictures next to it.

    Args:
      record: of a result.
    """
    warning, verdicts = record["run"]["warning"], record["verdicts"]
    parts = [f"**Not a quiet machine**: {warning}."] if warning else []
    parts.extend(["\n".join(f"- {verdict}" for verdict in verdicts)] if verdicts else [])
    for table in record["tables"]:
        parts.append(f"**{table['title']}**")
        parts.append(markdown_table(table["headers"], table["rows"]))
        parts.extend([table["note"]] if table["note"] else [])
    for picture in record["pictures"]:
        parts.append(f"![{picture['title']}]({picture['file']})")
    parts.extend(measured_on(record["run"]))
    return "\n\n".join(parts)


def measured_on(run: dict) -> list[str]:
    """Returns lines about where, when and with which command a result was found.

    Args:
      run: of its record.
    """
    lines = [where_and_when(run), f"`{run['command']}`"]
    if run["device"] not in (None, "host"):
        said = run["device_says"] or {}
        there = said.get("machine") or {}
        parts = [said.get("place"), *(there.get(key) for key in ("cpu", "platform", "litert"))]
        device = ", ".join([run["device"], *filter(None, parts)])
        lines.insert(0, f"Measured on the device {device}. Converted on:")
    return lines


def _draw(experiment: Experiment, folder: Path, picture: Picture) -> dict[str, str]:
    file = f"{experiment.name}_{picture.name}.svg"
    # The same figure gives the same file: no date, and no random names of its parts.
    with (
        matplotlib.rc_context({"svg.hashsalt": file, "svg.fonttype": "none"}),
        atomic_write(folder / file) as path,
    ):
        picture.figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    return {"file": file, "title": picture.title}
