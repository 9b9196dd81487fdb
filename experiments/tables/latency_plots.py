"""Pictures of latencies: bars, and times over multiply-adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

_BAR_HEIGHT, _PANEL_WIDTH = 0.3, 5.0


def bars(panels: Mapping[str, Mapping[str, Mapping[str, float]]], unit: str) -> Figure:
    """Returns a panel of horizontal bars for each group, each bar with the passes' p10 to p90.

    Args:
      panels: by group and label, the spread of what was measured; without a measurement there is
        no bar.
      unit: such as "int8, ms".
    """
    longest = max(len(rows) for rows in panels.values())
    size = (_PANEL_WIDTH * len(panels), 1.2 + _BAR_HEIGHT * longest)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for one, (title, rows) in zip(axes, panels.items(), strict=True):
        # The first row of the table is the bar at the top.
        labels, spreads = list(rows)[::-1], list(rows.values())[::-1]
        medians = np.array([spread["median"] for spread in spreads])
        ranges = [
            [spread["median"] - spread["p10"] for spread in spreads],
            [spread["p90"] - spread["median"] for spread in spreads],
        ]
        one.barh(labels, np.nan_to_num(medians), xerr=np.nan_to_num(ranges), color="C0")
        one.set_title(title, fontsize=10)
        one.set_xlabel(unit)
        one.tick_params(labelsize=8)
    return figure


@dataclass(frozen=True)
class Point:
    """A network in a picture of times over multiply-adds."""

    name: str
    family: str
    macs: int
    milliseconds: float


def times_against_macs(panels: Mapping[str, Sequence[Point]], unit: str) -> Figure:
    """Returns a panel for each group: times over multiply-adds, both logarithmic.

    Networks of a family have one colour and are joined by a line.
    """
    figure = Figure(figsize=(_PANEL_WIDTH * len(panels), 4.5), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    families = list(dict.fromkeys(p.family for points in panels.values() for p in points))
    for one, (title, points) in zip(axes, panels.items(), strict=True):
        for family in families:
            known = [p for p in points if p.family == family and not np.isnan(p.milliseconds)]
            known.sort(key=lambda point: point.macs)
            x, y = [p.macs / 1e6 for p in known], [p.milliseconds for p in known]
            colour = f"C{families.index(family) % 10}"
            one.plot(x, y, "o-", color=colour, markersize=4, linewidth=1, label=family)
            for point in known:
                where = (point.macs / 1e6, point.milliseconds)
                one.annotate(
                    point.name, where, fontsize=6, xytext=(3, -6), textcoords="offset points"
                )
        one.set_xscale("log")
        one.set_yscale("log")
        one.set_title(title, fontsize=10)
        one.set_xlabel("million multiply-adds")
    axes[0].set_ylabel(unit)
    axes[0].legend(fontsize=7)
    return figure
