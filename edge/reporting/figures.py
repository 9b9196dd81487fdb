"""The report's plots."""

from collections.abc import Sequence

from plotly import graph_objects
from plotly.colors import qualitative

from edge.profiling.layers import KINDS
from edge.profiling.picture import COLORS
from edge.reporting.data import Breakdown, Point, accuracy_name, by_group
from edge.reporting.page import figure_text
from edge.reporting.pareto import pareto_front

_SYMBOLS = {"canonical": "circle-open", "deployment": "circle"}
_PALETTE = qualitative.D3
_BAR_HEIGHT, _AROUND_BARS = 52, 120
# Latencies that differ by more than this factor are drawn on a logarithmic axis.
_WIDE = 20
_LEGEND = {"orientation": "h", "yanchor": "top", "y": -0.25, "x": 0}


def latency_against_accuracy(points: Sequence[Point]) -> graph_objects.Figure:
    """Returns a plot like V2's Figure 1: one point per file, and each device's Pareto front."""
    figure = graph_objects.Figure()
    for index, (group, own) in enumerate(by_group(points).items()):
        color = _PALETTE[index % len(_PALETTE)]
        known = [point for point in own if point.accuracy is not None]
        figure.add_trace(_points(group, known, color))
        front = pareto_front(known, cost=lambda point: point.ms, value=lambda point: point.accuracy)
        figure.add_trace(
            graph_objects.Scatter(
                x=[point.ms for point in front],
                y=[100 * point.accuracy for point in front],
                mode="lines",
                line={"color": color, "width": 1, "dash": "dot", "shape": "hv"},
                name=f"Pareto front of {figure_text(group)}",
                hoverinfo="skip",
                showlegend=len(front) > 1,
            )
        )
    figure.update_layout(
        xaxis={"title": "ms, median of one inference", **_axis([point.ms for point in points])},
        yaxis={"title": f"{accuracy_name(points)}, %"},
        height=480,
        legend=_LEGEND,
    )
    return figure


def _axis(values: Sequence[float]) -> dict:
    if min(values) > 0 and max(values) > _WIDE * min(values):
        return {"type": "log", "dtick": 1}
    return {"rangemode": "tozero"}


def _points(group: str, points: Sequence[Point], color: str) -> graph_objects.Scatter:
    return graph_objects.Scatter(
        x=[point.ms for point in points],
        y=[100 * point.accuracy for point in points],
        error_x=_spread(points),
        mode="markers",
        marker={
            "color": color,
            "size": 11,
            "symbol": [_SYMBOLS.get(point.text("graph"), "diamond") for point in points],
        },
        name=figure_text(group),
        customdata=[point.anchor for point in points],
        text=[figure_text(point.label) for point in points],
        hovertemplate=["%{text}<br>%{x:.3f} ms, %{y:.1f}%" + _images(point) for point in points],
    )


def device_bars(group: str, points: Sequence[Point]) -> graph_objects.Figure:
    """Returns one bar per file on one device, fastest on top, with 10th to 90th percentile."""
    ordered = sorted(points, key=lambda point: -point.ms)
    figure = graph_objects.Figure(
        graph_objects.Bar(
            x=[point.ms for point in ordered],
            y=[_wrapped(point.label) for point in ordered],
            orientation="h",
            error_x=_spread(ordered),
            marker={"color": [_color(point) for point in ordered]},
            customdata=[point.anchor for point in ordered],
            text=[f"{point.ms:.3g}" for point in ordered],
            textposition="inside",
            insidetextanchor="start",
            hovertemplate="%{y}<br>%{x:.3f} ms",
        )
    )
    figure.update_layout(
        title={"text": figure_text(group), "font": {"size": 14}},
        xaxis={"title": "ms (p10-p90)", "rangemode": "tozero"},
        yaxis={"automargin": True},
        height=_BAR_HEIGHT * len(ordered) + _AROUND_BARS,
    )
    return figure


def breakdown_bars(breakdowns: Sequence[Breakdown]) -> graph_objects.Figure:
    """Returns a plot like V2's Figure 2: one bar per profile, one piece per kind of operator."""
    ordered = list(reversed(breakdowns))
    labels = [_wrapped(one.label) for one in ordered]
    figure = graph_objects.Figure()
    for kind in KINDS:
        rows = [next((k for k in one.kinds if k["kind"] == kind), None) for one in ordered]
        if not any(rows):
            continue
        figure.add_trace(
            graph_objects.Bar(
                x=[row["us"] if row else 0 for row in rows],
                y=labels,
                orientation="h",
                name=kind,
                marker={"color": COLORS[kind]},
                text=[f"{100 * row['share']:.0f}%" if row else "" for row in rows],
                textposition="inside",
                hovertemplate=f"{kind}: %{{x:.1f}} us, %{{text}}",
            )
        )
    figure.update_layout(
        barmode="stack",
        xaxis={"title": "microseconds of one inference"},
        yaxis={"automargin": True},
        height=_BAR_HEIGHT * len(ordered) + _AROUND_BARS + 60,
        legend={**_LEGEND, "traceorder": "normal", "y": 1, "yanchor": "bottom"},
    )
    return figure


def _images(point: Point) -> str:
    """Returns of how many images an accuracy is, such as " of 300 images"; "" if unknown."""
    count = point.number("accuracy_images")
    return "" if count is None else f" of {count:.0f} images"


def _spread(points: Sequence[Point]) -> dict:
    """Returns error bars from the 10th to the 90th percentile; none if they are not known."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [0 if point.high is None else max(0, point.high - point.ms) for point in points],
        "arrayminus": [
            0 if point.low is None else max(0, point.ms - point.low) for point in points
        ],
        "thickness": 1,
    }


def _color(point: Point) -> str:
    return "#1f77b4" if point.text("graph") == "deployment" else "#9aa5b1"


def _wrapped(label: str) -> str:
    """Returns a label broken into lines that fit on a phone, which most file names do not."""
    lines, line = [], ""
    for part in figure_text(label).replace("_", "_\n").replace(" ", " \n").split("\n"):
        if line and len(line) + len(part) > 18:
            lines.append(line)
            line = ""
        line += part
    return "<br>".join([*lines, line])
