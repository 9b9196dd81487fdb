"""Measurements that are kept from run to run, each in a small file."""

import hashlib
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path

from absl import logging

from common.cli import UserError, explain_os_error
from common.files import write_json
from common.storage.readers import read_json


def cache_folder(name: str) -> Path:
    """Returns a folder of measurements in the user's cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "keras_shufflenet" / name


def cached(
    folder: Path, key: dict, fields: Collection[str], measure: Callable[[], dict[str, int]]
) -> dict[str, int]:
    """Returns the kept result of `measure` for the same key, or calls it and keeps the result.

    A file that is damaged, or has another key, is measured again and replaced.

    Args:
      folder: where results are kept; made if it is missing.
      key: everything that the result depends on, as JSON values.
      fields: the names in the result; all values are integers of at least 0.
      measure: the slow function.

    Examples:
      >>> cached(Path("cache"), {"network": "v2-0.5x"}, ["macs"], lambda: {"macs": count(model)})
    """
    text = json.dumps(key, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    values = _read(path, key)
    numbers = (type(value) is int and value >= 0 for value in values.values())
    if set(values) == set(fields) and all(numbers):
        return values
    values = measure()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"key": key, "values": values})
    except OSError as error:
        # They only save time: in a container, for example, a user may have no home.
        message = "measurements are not kept for the next run: %s"
        logging.log_first_n(logging.WARNING, message, 1, explain_os_error(error))
    return values


def _read(path: Path, key: dict) -> dict:
    """Returns the values that a file has for a key, {} if it has none."""
    try:
        kept = read_json(path, "remove it")
    except (OSError, UserError):
        return {}
    values = kept.get("values") if isinstance(kept, dict) and kept.get("key") == key else None
    return values if isinstance(values, dict) else {}
