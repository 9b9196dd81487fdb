"""V2 Figure 1: accuracy against multiply-adds and against latency, with the Pareto fronts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from common.cli import UserError
from edge.reporting.pareto import pareto_front
from edge.running.measurement import interval, read_measurements
from experiments.harness.experiment import Picture, Result, Settings, Table
from experiments.measuring.latencies import SHOWN, measure_networks
from experiments.networks.models import MODELS, Model, application, network

_GROUP = "ImageNet"
_MACS = "million multiply-adds"


# Top-1 errors and millions of multiply-adds that keras.applications publishes for its weights.
_NETWORKS = {
    **MODELS,
    "mobilenet-v2-0.5": Model(application("MobileNetV2", alpha=0.5), 34.6, 97),
    "mobilenet-v2-0.75": Model(application("MobileNetV2", alpha=0.75), 30.2, 209),
    "mobilenet-v2-1.4": Model(application("MobileNetV2", alpha=1.4), 25.0, 582),
}
FAMILIES = {
    "ShuffleNet V2": ("v2-0.5x", "v2-1x", "v2-1.5x", "v2-2x"),
    "ShuffleNet V1, g=3": ("v1-0.5x-g3", "v1-1x-g3", "v1-1.5x-g3", "v1-2x-g3"),
    "MobileNet V1": ("mobilenet-0.25", "mobilenet-0.5", "mobilenet-0.75", "mobilenet-1.0"),
    "MobileNet V2": ("mobilenet-v2-0.5", "mobilenet-v2-0.75", "mobilenet-v2", "mobilenet-v2-1.4"),
    "MobileNet V3": ("mobilenet-v3-small", "mobilenet-v3-large"),
}


@dataclass(frozen=True)
class Point:
    """A network in the picture.

    Attributes:
      family: the line that it is on.
      name: of the network, or of a measured file.
      top1: accuracy between 0 and 1.
      source: of the accuracy: "published", or "measured here" with the number of images.
      costs: by kind, such as "int8, ms"; NaN where it could not be measured.
      shown: the costs with their spread, as text.
    """

    family: str
    name: str
    top1: float
    source: str
    costs: Mapping[str, float]
    shown: Mapping[str, str]


def run(settings: Settings, measurements: Sequence[Path] = ()) -> Result:
    """Measures the networks, and shows their times next to their published accuracies.

    Args:
      settings: the device, and how often.
      measurements: files that edge.benchmark wrote, with accuracies measured here: they get a
        separate table, because other images were evaluated.

    Raises:
      UserError: a file of measurements is missing or has none with an accuracy.
    """
    measured = [point for path in measurements for point in measured_points(path)]
    points = _published(settings)
    tables = [_table("ImageNet, top-1 as published", points)]
    pictures = [Picture("imagenet", "Published accuracy, measured time", _plot(points))]
    verdicts = list(_verdicts(points))
    if measured:
        tables.append(_table("Accuracy measured here", measured))
        pictures.append(Picture("measured", "Accuracy and time, measured", _plot(measured)))
        verdicts += [f"Measured here, {text}" for text in _verdicts(measured)]
    data = {"points": [_as_json(point) for point in points + measured]}
    return Result(tables, verdicts, pictures, data)


def front(points: Sequence[Point], cost: str) -> list[Point]:
    """Returns the Pareto front of a cost and accuracy, without points of unknown cost."""
    return pareto_front(points, cost=lambda one: one.costs[cost], value=lambda one: one.top1)


def _published(settings: Settings) -> list[Point]:
    """Measures the networks of `FAMILIES` and returns a point for each."""
    networks = {
        (_GROUP, name): network(name, model=_NETWORKS[name])
        for names in FAMILIES.values()
        for name in names
    }
    found = measure_networks("tradeoff", networks, settings)
    points = []
    for family, names in FAMILIES.items():
        for name in names:
            macs = found.models[_GROUP, name]["macs"] / 1e6
            costs, shown = {_MACS: macs}, {_MACS: f"{macs:.1f}"}
            for quantization, text in SHOWN.items():
                key = (_GROUP, name, quantization)
                costs[f"{text}, ms"] = found.spread(*key)["median"]
                shown[f"{text}, ms"] = found.text(*key, digits=3)
            top1 = 1 - _NETWORKS[name].error / 100
            points.append(Point(family, name, top1, "published", costs, shown))
    return points


def measured_points(path: Path) -> list[Point]:
    """Returns the points of a file of edge.benchmark whose accuracy was measured.

    Raises:
      UserError: the file is missing or has no such point.
    """
    points = []
    for record in read_measurements(path):
        if record.get("accuracy") is None:
            continue
        latency = record["latency_ms"]
        # Old versions of Android's benchmark_model print only the mean.
        median = latency["median"] or latency["mean"]
        ends = {key: median if latency.get(key) is None else latency[key] for key in ("p10", "p90")}
        points.append(
            Point(
                f"{record['model']}, {record['device']}",
                record["file"],
                record["accuracy"],
                f"measured here on {record['accuracy_images']} images",
                {"ms": median},
                {"ms": interval({"median": median, **ends})},
            )
        )
    if not points:
        raise UserError(
            f"{path} has no measurement with an accuracy; convert with --samples above 0 and "
            "measure again"
        )
    return points


def _table(title: str, points: Sequence[Point]) -> Table:
    kinds = list(points[0].costs)
    fronts = {kind: front(points, kind) for kind in kinds}
    rows = [
        [
            point.name,
            point.family,
            f"{point.top1:.1%}",
            point.source,
            *(f"{point.shown[kind]}{' ◆' if point in fronts[kind] else ''}" for kind in kinds),
        ]
        for point in points
    ]
    headers = ["network", "family", "top-1", "accuracy is", *kinds]
    return Table(title, headers, rows, "◆: on the Pareto front of that column.")


def _verdicts(points: Sequence[Point]) -> Iterator[str]:
    for kind in points[0].costs:
        names = [point.name for point in front(points, kind)]
        yield f"On the Pareto front of {kind}: {', '.join(names) or 'none'}."


def _plot(points: Sequence[Point]) -> Figure:
    kinds = list(points[0].costs)
    figure = Figure(figsize=(4.2 * len(kinds), 4.4), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        _draw(axes, points, kind)
    panels[0].set_ylabel("top-1, %")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _draw(axes: Axes, points: Sequence[Point], kind: str) -> None:
    for family in dict.fromkeys(point.family for point in points):
        own = [point for point in points if point.family == family]
        costs, top1 = [point.costs[kind] for point in own], [100 * point.top1 for point in own]
        axes.plot(costs, top1, "o-", markersize=4, linewidth=1, label=family)
    best = front(points, kind)
    costs, top1 = [point.costs[kind] for point in best], [100 * point.top1 for point in best]
    axes.step(costs, top1, where="post", color="gray", linewidth=4, alpha=0.3, label="Pareto front")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(kind)


def _as_json(point: Point) -> dict:
    # JSON has no NaN.
    costs = {kind: cost if cost > 0 else None for kind, cost in point.costs.items()}
    return {**vars(point), "costs": costs, "shown": dict(point.shown)}
