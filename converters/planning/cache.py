"""Measurements that are kept from run to run, one small file each."""

import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path

from common.files import write_json


def cached(
    folder: Path, key: dict, fields: Collection[str], measure: Callable[[], dict[str, int]]
) -> dict[str, int]:
    """Returns what `measure` returned for the same key before, or calls it and keeps the result.

    A file that is damaged, or of another key, is measured anew and replaced.

    Args:
      folder: made if it is missing.
      key: all that the result depends on, JSON values.
      fields: of the result; all of them are integers.
      measure: takes its time.

    Raises:
      OSError: the folder cannot be written.

    Examples:
      >>> cached(Path("cache"), {"network": "v2-0.5x"}, ["macs"], lambda: {"macs": count(model)})
    """
    text = json.dumps(key, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    values = _read(path, key)
    if values is not None and set(values) == set(fields) and _all_integers(values):
        return values
    values = measure()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {"key": key, "values": values})
    return values


def _read(path: Path, key: dict) -> dict | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    # No file, no UTF-8, no JSON, or JSON nested too deeply: whatever it is, it is no measurement.
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(kept, dict) or kept.get("key") != key:
        return None
    return kept.get("values") if isinstance(kept.get("values"), dict) else None


def _all_integers(values: dict) -> bool:
    return all(type(value) is int and value >= 0 for value in values.values())
