"""The data of a report, read from files of measurements whose content is not trusted."""

import contextlib
import io
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.cli import UserError
from common.manifest import read_manifest
from edge.profiling.layers import KINDS
from edge.profiling.match import kinds_of_nodes
from edge.running.measurement import device_name, graph_pairs, is_measured, read_measurements


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
      anchor: HTML anchor of its details on the page.
      label: its file, with the artifact's folder if there are several artifacts.
      group: device, threads and, if needed to distinguish them, CPU; latencies can be compared
        within a group.
      ms: median of one inference, or the mean if the device reports no median.
      low, high: the 10th and 90th percentile in milliseconds, or None.
      accuracy: on the artifact's samples, 0 to 1, or None; of a detector its average precision.
      record: the whole record.
    """

    anchor: str
    label: str
    group: str
    ms: float
    low: float | None
    high: float | None
    accuracy: float | None
    record: dict

    @property
    def is_precision(self) -> bool:
        """Whether `accuracy` is a detector's average precision."""
        return number(self.record.get("ap")) is not None

    def text(self, key: str) -> str:
        """Returns a field as text; empty if it is missing."""
        value = self.record.get(key)
        return "" if value is None else str(value)

    def number(self, key: str) -> float | None:
        """Returns a field if it is a number, else None."""
        return number(self.record.get(key))


@dataclass(frozen=True)
class Breakdown:
    """Where the time of a file goes.

    Attributes:
      label: its file, with the device if there are several.
      method: how it was measured.
      whole_us: microseconds of an inference without a profiler, or None.
      kinds: {"kind", "us", "share", "operators"} in the order of `KINDS`.
    """

    label: str
    method: str
    whole_us: float | None
    kinds: Sequence[dict]


@dataclass(frozen=True)
class ReportData:
    """Everything that was read.

    Attributes:
      points: measurements, oldest first.
      breakdowns: profiles.
      notes: one sentence for everything that was skipped.
    """

    points: tuple[Point, ...]
    breakdowns: tuple[Breakdown, ...]
    notes: tuple[str, ...]


def read_report_data(paths: Sequence[Path]) -> ReportData:
    """Reads files that `edge.benchmark` and `edge.profile` wrote.

    Args:
      paths: JSON Lines files.

    Raises:
      UserError: a file is missing, or none of them has anything to show.
    """
    records, notes = _read(paths)
    measured = [record for record in records if _milliseconds(record) is not None]
    profiled = [(record, one) for record in records if (one := _breakdown(record))]
    breakdowns = _with_devices(profiled)
    unknown = sum(_milliseconds(record) is None and not _breakdown(record) for record in records)
    if unknown:
        notes.append(f"skipped: {unknown} of the records, neither measurements nor profiles")
    if not measured and not breakdowns:
        names = ", ".join(map(str, paths))
        raise UserError(
            f"there are no measurements in {names}; make some with shufflenet benchmark"
        )
    several = len({str(record.get("artifact")) for record in measured}) > 1
    groups = _groups(measured)
    points = [
        Point(
            anchor=f"measurement-{index}",
            label=_label(record, several),
            group=group,
            ms=_milliseconds(record),
            low=number(record["latency_ms"].get("p10")),
            high=number(record["latency_ms"].get("p90")),
            accuracy=_accuracy(record),
            record=record,
        )
        for index, (record, group) in enumerate(zip(measured, groups, strict=True))
    ]
    return ReportData(tuple(points), tuple(breakdowns), tuple(notes))


def latest(points: Sequence[Point]) -> list[Point]:
    """Returns the latest measurement of each file on each device, in the order of the points."""
    return list({(point.group, point.label): point for point in points}.values())


def accuracy_name(points: Sequence[Point]) -> str:
    """Returns what the accuracies of some points are: "accuracy", "AP", or both."""
    kinds = {point.is_precision for point in points if point.accuracy is not None}
    return {(True,): "AP", (False, True): "accuracy or AP"}.get(tuple(sorted(kinds)), "accuracy")


def by_group(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Returns the points of each group."""
    groups = defaultdict(list)
    for point in points:
        groups[point.group].append(point)
    return dict(groups)


def canonical_pairs(points: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Returns the latest canonical and deployment measurement of each model that has both.

    Both are of the same artifact, quantization and device.
    """
    return graph_pairs(
        points,
        lambda point: (point.group, *map(point.text, ("artifact", "model", "quantization"))),
        lambda point: point.text("graph"),
    )


def manifest_of(record: dict, folders: Sequence[Path]) -> tuple[str, dict] | str:
    """Finds the manifest of the artifact that was measured.

    Args:
      record: the measurement.
      folders: folders to which the artifact's path may be relative.

    Returns:
      The artifact's folder and manifest, or a sentence that says why there is none.
    """
    artifact, file = str(record.get("artifact")), str(record.get("file"))
    if record.get("artifact") is None:
        return f"{file} was measured by itself, without an artifact."
    for folder in folders:
        try:
            manifest = read_manifest(folder / artifact)
        except (UserError, OSError, ValueError):
            continue
        entry = manifest["files"].get(file)
        if entry is not None and entry["sha256"] == record.get("sha256"):
            return str(folder / artifact), manifest
        return f"The artifact {artifact} was converted again since then: it has another {file}."
    return f"The artifact {artifact} does not exist any more."


def number(value: Any) -> float | None:
    """Returns a value as float if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _read(paths: Sequence[Path]) -> tuple[list[dict], list[str]]:
    """Returns all records, and what `read_measurements` reported about incomplete lines."""
    records: list[dict] = []
    reported = io.StringIO()
    for path in paths:
        with contextlib.redirect_stderr(reported):
            records += read_measurements(path)
    return records, reported.getvalue().splitlines()


def _milliseconds(record: dict) -> float | None:
    latency = record.get("latency_ms")
    if not isinstance(latency, dict):
        return None
    median = number(latency.get("median"))
    value = number(latency.get("mean")) if median is None else median
    # No inference takes no time, and what is compared is divided by it.
    return value if value is not None and value > 0 else None


def _accuracy(record: dict) -> float | None:
    precision = number(record.get("ap"))
    value = number(record.get("accuracy")) if precision is None else precision
    return value if value is not None and 0 <= value <= 1 else None


def _groups(records: Sequence[dict]) -> list[str]:
    """Returns each record's device, with its CPU if several CPUs have the same device name."""
    names = [_device(record) for record in records]
    cpus = [_cpu(record) for record in records]
    of_name: dict[str, set[str]] = defaultdict(set)
    for name, cpu in zip(names, cpus, strict=True):
        of_name[name].add(cpu)
    return [
        f"{name}, {cpu}" if len(of_name[name]) > 1 else name
        for name, cpu in zip(names, cpus, strict=True)
    ]


def _device(record: dict) -> str:
    """Returns the device's name, with the number of threads if it is a real device."""
    name, threads = device_name(record), number(record.get("threads"))
    if threads is None or not is_measured(record):
        return name
    return f"{name}, {threads:.0f} thread{'s' if threads != 1 else ''}"


def _cpu(record: dict) -> str:
    machine = record.get("machine")
    return str(machine.get("cpu")) if isinstance(machine, dict) else "unknown CPU"


def _label(record: dict, several: bool) -> str:
    file = str(record.get("file", "unnamed file"))
    artifact = record.get("artifact")
    return f"{artifact}: {file}" if several and artifact is not None else file


def _breakdown(record: dict) -> Breakdown | None:
    """Returns a record's profile, by `edge.profile` or by Android's benchmark_model, or None."""
    own, other = record.get("operator_profile"), record.get("profile")
    label = str(record.get("file", "unnamed file"))
    try:
        if isinstance(own, dict):
            whole = number(own["whole_ms"]["median"])
            kinds = _checked(own["kinds"])
            return Breakdown(label, str(own["method_description"]), whole and 1e3 * whole, kinds)
        if isinstance(other, dict):
            kinds = _checked(kinds_of_nodes(other["nodes"]))
            return Breakdown(label, "benchmark_model's profile by operator", None, kinds)
    except (KeyError, TypeError, ValueError):
        pass
    return None


def _with_devices(profiled: Sequence[tuple[dict, Breakdown]]) -> list[Breakdown]:
    """Returns the breakdowns, labelled with their devices if there are several."""
    devices = [_device(record) for record, _ in profiled]
    if len(set(devices)) < 2:
        return [one for _, one in profiled]
    return [
        replace(one, label=f"{one.label} on {device}")
        for (_, one), device in zip(profiled, devices, strict=True)
    ]


def _checked(kinds: Any) -> list[dict]:
    """Returns the fields to draw; raises ValueError unless they are known kinds with numbers."""
    found = []
    for kind in kinds:
        numbers = {key: number(kind[key]) for key in ("us", "share", "operators")}
        if kind["kind"] not in KINDS or None in numbers.values():
            raise ValueError("this is not a kind of operator")
        found.append({"kind": kind["kind"], **numbers})
    if not found:
        raise ValueError("there are no kinds of operators")
    return found
