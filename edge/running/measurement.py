"""The parts of a measurement: statistics, comparisons, and a file of records."""

import datetime
import json
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from common.cli import UserError
from common.files import append_text
from common.storage.readers import read_records

# Exported here, because other modules get everything else about a measurement here, too.
from edge.running.runner import describe_machine as describe_machine

SCHEMA_VERSION = 1
_Found = TypeVar("_Found")
# The text after the device's name, by the record's field that requires it.
_MARKS = {"simulation": "(simulated)", "estimate": "(estimate)"}


def statistics(milliseconds: list[float]) -> dict[str, float | int]:
    """Summarizes repeated timings.

    Args:
      milliseconds: one number per run, at least one.

    Returns:
      median, p10, p90, min and mean in milliseconds, and the number of runs.

    Raises:
      ValueError: the list is empty.

    Examples:
      >>> statistics([1.0, 2.0, 3.0])["median"]
      2.0
    """
    if not milliseconds:
        raise ValueError("milliseconds must hold at least one timing, received: []")
    return {
        **spread(milliseconds),
        "min": float(min(milliseconds)),
        "mean": float(np.mean(milliseconds)),
        "runs": len(milliseconds),
    }


def spread(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Returns the `median`, `p10` and `p90` of repeated figures; all are NaN if a figure is NaN.

    Examples:
      >>> spread([1.0, 2.0, 3.0])["median"]
      2.0
    """
    p10, median, p90 = map(float, np.percentile(values, (10, 50, 90)))
    return {"median": median, "p10": p10, "p90": p90}


def interval(
    values: Mapping[str, float], digits: int = 3, bold: bool = False, unit: str = ""
) -> str:
    """Returns a spread for a table's cell, such as "0.83x (0.80-0.90)"; "-" for NaN.

    Args:
      values: as `spread` or `statistics` returns them.
      digits: digits after the point.
      bold: whether markdown shows the median in bold.
      unit: the text after the median.
    """
    if np.isnan(values["median"]):
        return "-"
    median = f"{values['median']:.{digits}f}{unit}"
    median = f"**{median}**" if bold else median
    return f"{median} ({values['p10']:.{digits}f}-{values['p90']:.{digits}f})"


def drift(milliseconds: list[float]) -> float | None:
    """Returns how much slower the last tenth of the runs was than the first tenth, as a share.

    A processor that gets hot slows down. None for fewer than 20 runs.

    Examples:
      >>> drift([1.0] * 10 + [1.5] * 10)
      0.5
    """
    tenth = len(milliseconds) // 10
    if tenth < 2:
        return None
    return float(np.median(milliseconds[-tenth:]) / np.median(milliseconds[:tenth])) - 1


def compare_outputs(expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> dict:
    """Compares raw outputs, for each of the network's an array [images, ...], of the same dtypes.

    Returns:
      For integers, the largest difference `max_lsb` in LSB (steps of the integers), and the shares
      `exact` and `within_1_lsb` of all numbers; for floats, `max_abs`; for both, the number of
      `images`.
    """
    expected, actual = (
        np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)
        for arrays in (expected, actual)
    )
    if expected.dtype.kind == "f":
        difference = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
        return {"max_abs": float(difference.max()), "images": len(expected)}
    difference = np.abs(expected.astype(np.int32) - actual.astype(np.int32))
    return {
        "max_lsb": int(difference.max()),
        "exact": float((difference == 0).mean()),
        "within_1_lsb": float((difference <= 1).mean()),
        "images": len(expected),
    }


def graph_pairs(
    found: Iterable[_Found],
    network: Callable[[_Found], Hashable],
    graph: Callable[[_Found], str | None],
) -> list[tuple[_Found, _Found]]:
    """Returns the items of the canonical and the deployment graph of each network as pairs.

    Args:
      found: items of any kind; the last of several for the same graph is used.
      network: returns an item's network, which both items of a pair have in common.
      graph: returns "canonical", "deployment", or another name, which is in no pair.
    """
    networks: dict[Hashable, dict[str | None, _Found]] = {}
    for one in found:
        networks.setdefault(network(one), {})[graph(one)] = one
    return [
        (graphs["canonical"], graphs["deployment"])
        for graphs in networks.values()
        if {"canonical", "deployment"} <= graphs.keys()
    ]


def device_name(record: dict) -> str:
    """Returns the name of a record's device, with a remark if it was simulated or estimated.

    Examples:
      >>> device_name({"device": "micro-sim", "simulation": True})
      'micro-sim (simulated)'
    """
    parts = [record.get("device", "unknown device"), record.get("place"), record.get("delegate")]
    marks = [mark for field, mark in _MARKS.items() if record.get(field)]
    return " ".join(map(str, [*filter(None, parts), *marks]))


def is_measured(record: dict) -> bool:
    """Returns whether a record's times were measured on a device, not simulated or estimated."""
    return not any(record.get(field) for field in _MARKS)


def now() -> str:
    """Returns the date and time in UTC, in ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def append_measurements(path: Path, records: list[dict]) -> None:
    """Appends records to a JSON Lines file and waits until they are on the disk."""
    append_text(path, "".join(json.dumps(record) + "\n" for record in records))


def read_measurements(path: Path) -> list[dict]:
    """Reads all complete records; skips a killed run's incomplete line and names it on stderr.

    Raises:
      UserError: the file is missing.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file that shufflenet benchmark wrote")
    if not path.exists():
        raise UserError(f"{path} does not exist; make it with shufflenet benchmark")
    records = read_records(path, "name another file")
    for number in records.bad:
        print(f"{path}:{number} is not a complete record, skipped", file=sys.stderr)
    return [record for _, record in records.found]
