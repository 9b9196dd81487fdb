"""Draws a stage of a network twice: as trained, and in its deployment graph."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import matplotlib
import numpy as np

from common import files
from common.cli import UserError
from converters.graph import reader
from converters.graph.operations import Graph
from converters.graph.operator import Op
from keras_shufflenet import ShuffleUnit, ShuffleUnitV2

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# Operators that only move values; all others compute.
MOVES = ("split", "slice", "concat", "shuffle", "transpose", "pad")
_COLORS = {"compute": "#cfe3f7", "move": "#ffcf99", "outside": "#e8e8e8"}
# How often the boxes of each row are sorted by their neighbours.
_SWEEPS = 12
_INCHES_PER_BOX = (1.35, 0.52)
_BOX = (0.9, 0.62)


@dataclass(frozen=True)
class Box:
    """An operator in the picture: its kind, its label, and the boxes before it."""

    kind: str
    label: str
    inputs: tuple[str, ...]


def draw_stage(model: keras.Model, graph: Graph, path: str | Path, stage: int = 2) -> None:
    """Draws a stage as trained and as deployed, side by side, into a PNG.

    Args:
      model: the trained network.
      graph: its deployment graph.
      path: the picture's file.
      stage: 2, 3 or 4 as in the papers.

    Examples:
      >>> draw_stage(model, deployment_graph(model), "stage2.png")
    """
    stages = reader.stages(model)
    if len(stages) < stage - 1:
        raise UserError(
            f"model {model.name!r} has no stage {stage} of ShuffleNet units to draw; omit --plot"
        )
    panels = {
        f"stage {stage} as trained": trained_stage(stages[stage - 2]),
        f"stage {stage} of the deployment graph": deployed_stage(graph, stage),
    }
    places = [place_boxes(boxes) for boxes in panels.values()]
    sizes = [np.ptp(list(place.values()), axis=0) + 1 for place in places]
    size = np.array([sum(each[0] for each in sizes), max(each[1] for each in sizes)])
    figure, axes = plt.subplots(
        ncols=2,
        figsize=size * _INCHES_PER_BOX + (0.5, 0.8),
        width_ratios=[each[0] for each in sizes],
        layout="constrained",
    )
    for axis, (title, boxes), place in zip(axes, panels.items(), places, strict=True):
        _draw(axis, title, boxes, place, rows=size[1])
    try:
        with files.atomic_write(path) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
    finally:
        plt.close(figure)


def trained_stage(units: Sequence[ShuffleUnit | ShuffleUnitV2]) -> dict[str, Box]:
    """Returns the boxes of a stage's units, by name, in the order of execution."""
    boxes = {"input": Box("input", "input", ())}
    last = "input"
    for unit in units:
        add = _add_v2 if isinstance(unit, ShuffleUnitV2) else _add_v1
        last = add(boxes, unit, last)
    return boxes


def deployed_stage(graph: Graph, stage: int) -> dict[str, Box]:
    """Returns the boxes of a stage's operators in the deployment graph, by name."""
    boxes = {"input": Box("input", "input", ())}
    for op in graph.ops.values():
        if op.name.startswith(f"stage{stage}_"):
            inputs = [name if name in boxes else "input" for name in op.inputs]
            boxes[op.name] = Box(op.kind, _label(op), tuple(dict.fromkeys(inputs)))
    return boxes


def _label(op: Op) -> str:
    settings = op.settings
    if op.kind == "conv":
        groups = f", {settings['groups']} groups" if settings["groups"] > 1 else ""
        return f"1x1 conv {op.channels}{groups}"
    if op.kind == "slice":
        return f"slice {settings['start']}:{settings['stop']}"
    names = {
        "depthwise": "3x3 depthwise",
        "average_pool": "3x3 average",
        "window_average": "3x3 average",
        "edge_factor": "edges' factor",
    }
    return f"{names.get(op.kind, op.kind)} {op.channels}"


def _segment(boxes: dict[str, Box], last: str, steps: Sequence[tuple[str, str, str]]) -> str:
    """Adds (name, kind, label) one after the other; returns the last name."""
    for name, kind, label in steps:
        boxes[name] = Box(kind, label, (last,))
        last = name
    return last


def _add_v2(boxes: dict[str, Box], unit: ShuffleUnitV2, last: str) -> str:
    half, name = unit.filters // 2, unit.name
    shortcut = last
    if unit.stride == 2:
        steps = [
            (f"{name}_shortcut_depthwise", "depthwise", "3x3 depthwise"),
            (f"{name}_shortcut_pointwise", "conv", f"1x1 conv {half}"),
        ]
        shortcut = _segment(boxes, last, steps)
    else:
        shortcut = last = _segment(
            boxes, last, [(f"{name}_split", "split", f"split {half} + {half}")]
        )
    steps = [
        (f"{name}_pointwise1", "conv", f"1x1 conv {half}"),
        (f"{name}_depthwise", "depthwise", f"3x3 depthwise {half}"),
        (f"{name}_pointwise2", "conv", f"1x1 conv {half}"),
    ]
    main = _segment(boxes, last, steps)
    boxes[f"{name}_concat"] = Box("concat", f"concat {2 * half}", (shortcut, main))
    return _segment(
        boxes, f"{name}_concat", [(f"{name}_shuffle", "shuffle", f"shuffle {2 * half}")]
    )


def _add_v1(boxes: dict[str, Box], unit: ShuffleUnit, last: str) -> str:
    name, bottleneck, filters = unit.name, unit.compress.filters, unit.expand.filters
    groups = {
        layer: f", {layer.groups} groups" if layer.groups > 1 else ""
        for layer in (unit.compress, unit.expand)
    }
    steps = [(f"{name}_compress", "conv", f"1x1 conv {bottleneck}{groups[unit.compress]}")]
    if unit.shuffle is not None:
        steps.append((f"{name}_shuffle", "shuffle", f"shuffle {bottleneck}"))
    steps.append((f"{name}_depthwise", "depthwise", f"3x3 depthwise {bottleneck}"))
    steps.append((f"{name}_expand", "conv", f"1x1 conv {filters}{groups[unit.expand]}"))
    main = _segment(boxes, last, steps)
    if unit.squeeze_excite is not None:
        main = _segment(boxes, main, [(f"{name}_se", "squeeze_excite", "squeeze, excite")])
    if unit.stride == 2:
        last = _segment(boxes, last, [(f"{name}_pool", "average_pool", "3x3 average")])
        boxes[f"{name}_join"] = Box("concat", "concat", (last, main))
    else:
        boxes[f"{name}_join"] = Box("add", f"add {filters}", (last, main))
    return f"{name}_join"


def place_boxes(boxes: dict[str, Box]) -> dict[str, tuple[float, float]]:
    """Returns a place (column, row) for every box: below its inputs, near its neighbours.

    An edge across several rows has a place in each of them, so that no box covers it; these places
    are in the result under (from, to, row).
    """
    rows: dict[Any, int] = {}
    for name, box in boxes.items():
        rows[name] = 1 + max((rows[source] for source in box.inputs), default=-1)
    links: list[tuple[Any, Any]] = []
    for name, box in boxes.items():
        for source in box.inputs:
            between = [(source, name, row) for row in range(rows[source] + 1, rows[name])]
            rows.update({point: point[2] for point in between})
            stations = [source, *between, name]
            links += pairwise(stations)
    columns = _columns(rows, links)
    return {point: (columns[point], rows[point]) for point in rows}


def _columns(rows: dict[Any, int], links: list[tuple[Any, Any]]) -> dict[Any, float]:
    """Sorts each row by the mean column of its neighbours above, then below, and so on."""
    above, below, members = defaultdict(list), defaultdict(list), defaultdict(list)
    for first, second in links:
        below[first].append(second)
        above[second].append(first)
    for point, row in rows.items():
        members[row].append(point)
    columns = {point: float(i) for row in members.values() for i, point in enumerate(row)}
    for sweep in range(_SWEEPS):
        neighbours = below if sweep % 2 else above
        for row in sorted(members, reverse=bool(sweep % 2)):
            wanted = {
                point: float(np.mean([columns[other] for other in neighbours[point]]))
                if neighbours[point]
                else columns[point]
                for point in members[row]
            }
            columns.update(_spread(wanted))
    return columns


def _spread(wanted: dict[Any, float]) -> dict[Any, float]:
    """Returns columns at least one apart, in the wanted order and with the wanted mean."""
    points = sorted(wanted, key=wanted.get)
    placed = [wanted[points[0]]]
    for point in points[1:]:
        placed.append(max(wanted[point], placed[-1] + 1))
    shift = float(np.mean([wanted[point] for point in points]) - np.mean(placed))
    return {point: column + shift for point, column in zip(points, placed, strict=True)}


def _draw(axis: Any, title: str, boxes: dict[str, Box], place: dict[Any, tuple], rows: int) -> None:
    for name, box in boxes.items():
        for source in box.inputs:
            _draw_edge(axis, source, name, place)
        _draw_box(axis, box, place[name])
    moves = Counter(box.kind for box in boxes.values() if box.kind in MOVES)
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(moves.items()))
    axis.set_title(f"{title}\nmoves only: {counts or 'nothing'}", fontsize=9)
    columns = [column for column, _ in place.values()]
    axis.set(xlim=(min(columns) - 0.6, max(columns) + 0.6), ylim=(rows - 0.5, -0.5))
    axis.axis("off")


def _draw_edge(axis: Any, source: str, name: str, place: dict[Any, tuple]) -> None:
    """Draws a line that avoids the boxes: upright within each row, slanted between rows."""
    (x, first), (x_end, last) = place[source], place[name]
    corners = [(x, first + _BOX[1] / 2)]
    for row in range(first + 1, last):
        x = place[source, name, row][0]
        corners += [(x, row - _BOX[1] / 2), (x, row + _BOX[1] / 2)]
    corners.append((x_end, last - _BOX[1] / 2))
    axis.plot(*zip(*corners, strict=True), color="#888888", linewidth=1, zorder=1)


def _draw_box(axis: Any, box: Box, place: tuple[float, float]) -> None:
    kind = "outside" if box.kind == "input" else "move" if box.kind in MOVES else "compute"
    width, height = _BOX
    corner = (place[0] - width / 2, place[1] - height / 2)
    axis.add_patch(
        plt.Rectangle(corner, width, height, facecolor=_COLORS[kind], edgecolor="#555555", zorder=2)
    )
    axis.text(*place, box.label, ha="center", va="center", fontsize=6.5, zorder=3)
