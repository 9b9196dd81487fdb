"""The sections of the page of measurements: accuracy, devices, operators, every record."""

import json
from pathlib import Path

from edge.reporting.data import (
    Point,
    ReportData,
    accuracy_name,
    by_group,
    canonical_pairs,
    latest,
    manifest_of,
)
from edge.reporting.page import Column, Detail, Section, Table

_COLUMNS = (
    *(Column("file"), Column("model"), Column("graph"), Column("quantization"), Column("device")),
    *(Column("accuracy or AP, %", 1), Column("of images", 0)),
    *(Column("median ms", 3), Column("p10", 3), Column("p90", 3)),
    *(Column("KB", 1), Column("init ms", 1), Column("peak MB", 1), Column("arena KB", 1)),
    *(Column("mJ", 3), Column("date")),
)
_PAIR_COLUMNS = (
    *(Column("model"), Column("artifact"), Column("quantization"), Column("device")),
    *(Column("canonical ms", 3), Column("deployment ms", 3), Column("times as fast", 2)),
    *(Column("canonical accuracy or AP, %", 1), Column("deployment accuracy or AP, %", 1)),
)
_BREAKDOWN_COLUMNS = (
    *(Column("file"), Column("kind"), Column("operators", 0), Column("us", 1)),
    *(Column("share, %", 1), Column("of the network, %", 1)),
)
# These fields have hundreds of lines; the breakdown shows what is in them.
_NOT_SHOWN = ("operator_profile", "profile")


def sections(data: ReportData, folders: tuple[Path, ...]) -> list[Section]:
    """Returns what there is to show of `data`; manifests are looked for in `folders`."""
    made = []
    if any(point.accuracy is not None for point in data.points):
        made.append(_accuracy(data))
    if pairs := canonical_pairs(data.points):
        made.append(_canonical_against_deployment(pairs))
    if data.points:
        made.append(_devices(data))
    if data.breakdowns:
        made.append(_operators(data))
    if data.points:
        made += [_table(data), _details(data, folders)]
    return made


def _accuracy(data: ReportData) -> Section:
    from edge.reporting.figures import latency_against_accuracy

    return Section(
        f"Latency against {accuracy_name(data.points)}",
        "Higher and further left is better. Filled: deployment graphs, which this project writes; "
        "open: canonical graphs, as TensorFlow's converter writes them. The line is a device's "
        "Pareto front: the files that no other file beats in both. Latencies of different devices "
        f"are side by side; simulated ones say nothing about a device.{_images_note(data)}",
        figures=[latency_against_accuracy(data.points)],
    )


def _images_note(data: ReportData) -> str:
    """Returns a sentence if the accuracies are not all of the same number of images."""
    known = [point for point in data.points if point.accuracy is not None]
    counts = sorted({count for point in known if (count := point.number("accuracy_images"))})
    if len(counts) < 2:
        return ""
    return (
        f" The accuracies are of {counts[0]:.0f} to {counts[-1]:.0f} images, as each point says: "
        "compare only those of equally many."
    )


def _canonical_against_deployment(pairs: list[tuple[Point, Point]]) -> Section:
    rows = [
        [
            *(*map(old.text, ("model", "artifact", "quantization")), old.group, old.ms, new.ms),
            old.ms / new.ms if new.ms else None,
            *(_percent(old), _percent(new)),
        ]
        for old, new in pairs
    ]
    return Section(
        "Canonical against deployment graph",
        "The latest measurement of each; the speed-up is a ratio of medians.",
        tables=[Table(_PAIR_COLUMNS, rows, [new.anchor for _, new in pairs])],
    )


def _devices(data: ReportData) -> Section:
    from edge.reporting.figures import device_bars

    groups = by_group(latest(data.points))
    return Section(
        "Devices",
        "The latest measurement of each file; the lines go from the 10th to the 90th percentile. "
        "Blue: deployment graphs.",
        figures=[device_bars(group, points) for group, points in groups.items()],
    )


def _operators(data: ReportData) -> Section:
    from edge.reporting.figures import breakdown_bars

    rows = [
        [
            *(one.label, kind["kind"], kind["operators"], kind["us"], 100 * kind["share"]),
            100 * kind["us"] / one.whole_us if one.whole_us else None,
        ]
        for one in data.breakdowns
        for kind in one.kinds
    ]
    methods = " ".join(dict.fromkeys(f"{one.method}." for one in data.breakdowns))
    return Section(
        "Where the time goes",
        f"By kind of operator. Method: {methods} The network's time was measured without a "
        "profiler; what the operators do not add up to is spent between them or lost to rounding.",
        figures=[breakdown_bars(data.breakdowns)],
        tables=[Table(_BREAKDOWN_COLUMNS, rows)],
    )


def _table(data: ReportData) -> Section:
    rows = [
        [
            *(point.label, *map(point.text, ("model", "graph", "quantization")), point.group),
            *(_percent(point), point.number("accuracy_images")),
            *(point.ms, point.low, point.high),
            _scaled(point, "bytes", 1e3),
            point.number("initialization_ms"),
            _scaled(point, "peak_memory_bytes", 1e6),
            _scaled(point, "arena_bytes", 1e3),
            point.number("energy_mj"),
            point.text("date"),
        ]
        for point in data.points
    ]
    return Section(
        "All measurements",
        "Click on a header to sort; the first column links to the details.",
        tables=[Table(_COLUMNS, rows, [point.anchor for point in data.points])],
    )


def _details(data: ReportData, folders: tuple[Path, ...]) -> Section:
    """Returns every record, and each artifact's manifest once."""
    records, manifests = [], {}
    for point in data.points:
        found = manifest_of(point.record, folders)
        if isinstance(found, str):
            links, note = (), f"{found}\n\n"
        else:
            folder, manifest = found
            detail = manifests.setdefault(
                folder,
                Detail(f"manifest-{len(manifests)}", f"Manifest of {folder}", _json(manifest)),
            )
            links, note = ((detail.anchor, detail.title),), ""
        shown = {key: value for key, value in point.record.items() if key not in _NOT_SHOWN}
        title = f"{point.label} on {point.group}, {point.ms:.3f} ms"
        records.append(Detail(point.anchor, title, note + _json(shown), links))
    return Section("Details", details=[*records, *manifests.values()])


def _json(value: dict) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _percent(point: Point) -> float | None:
    return None if point.accuracy is None else 100 * point.accuracy


def _scaled(point: Point, key: str, unit: float) -> float | None:
    value = point.number(key)
    return None if value is None else value / unit
