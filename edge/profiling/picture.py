"""Draws profiles: one bar per file, with one piece per kind of operator."""

import os
from collections.abc import Sequence

from common.cli import UserError
from common.files import atomic_write
from edge.profiling.layers import (
    CONVERSION,
    CONVOLUTION,
    DATA_MOVEMENT,
    DEPTHWISE,
    ELEMENT_WISE,
    FULLY_CONNECTED,
    OTHER,
    POOLING,
)

# From matplotlib's tab10, also for the report: cool colors for computing, warm ones for overhead.
COLORS: dict[str, str] = {
    CONVOLUTION: "#1f77b4",
    DEPTHWISE: "#17becf",
    FULLY_CONNECTED: "#2ca02c",
    POOLING: "#9467bd",
    ELEMENT_WISE: "#bcbd22",
    DATA_MOVEMENT: "#d62728",
    CONVERSION: "#ff7f0e",
    OTHER: "#7f7f7f",
}
# Pieces narrower than this share of the longest bar have no space for a number.
_LABELLED = 0.04


def save_picture(records: Sequence[dict], path: str | os.PathLike) -> None:
    """Draws each file's time by kind (V2's Figure 2) and writes a PNG, whole or not at all.

    Args:
      records: records that `edge.profile` writes.
      path: the PNG file.

    Raises:
      UserError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("the picture needs matplotlib; pip install matplotlib") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 1.4 + 0.6 * len(records)), layout="constrained")
    longest = max(_total(record) for record in records)
    for row, record in enumerate(records):
        left = 0.0
        for kind in record["operator_profile"]["kinds"]:
            axes.barh(row, kind["us"], left=left, color=COLORS[kind["kind"]], label=kind["kind"])
            if kind["us"] > _LABELLED * longest:
                middle = left + kind["us"] / 2
                text = f"{kind['us']:.0f}\n{kind['share']:.0%}"
                axes.text(middle, row, text, ha="center", va="center", color="white", fontsize=8)
            left += kind["us"]
    axes.set_yticks(range(len(records)), [record["file"] for record in records])
    axes.invert_yaxis()
    axes.set_xlabel("microseconds of one inference")
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside upper center", ncols=4)
    try:
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
    finally:
        plt.close(figure)


def _total(record: dict) -> float:
    return sum(kind["us"] for kind in record["operator_profile"]["kinds"])
