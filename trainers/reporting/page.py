"""The page that compares runs: its plots and tables."""

import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.pages.html_page import plot, write_page
from trainers.reporting.runs import Run, differing, read_runs

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_PERCENT = 100.0
# By name in the metrics: the title, and the factor that a value is multiplied by.
_CURVES = {
    "top1": ("Top-1 accuracy, %", _PERCENT),
    "top5": ("Top-5 accuracy, %", _PERCENT),
    "ap": ("Average precision (AP), %", _PERCENT),
    "ap50": ("Average precision at an IoU of 0.5 (AP50), %", _PERCENT),
    "eval_loss": ("Loss in evaluation", 1.0),
    "train_loss": ("Loss in training, of the last logged batch", 1.0),
    "images_per_second": ("Training speed, images/s", 1.0),
}
_NONE = "-"
_USUAL = ("top1", "eval_loss")
# How the columns of a score begin.
_TITLES = {"top1": "top-1", "top5": "top-5", "eval_loss": "loss in evaluation", "ap": "AP"}


def write_report(workdirs: Sequence[Path], path: Path) -> None:
    """Reads the workdirs of trainings and writes the page that compares them.

    Args:
      workdirs: at least one.
      path: the HTML file.

    Raises:
      UserError: a workdir cannot be read, or a package is missing.
      OSError: the file cannot be written.

    Examples:
      >>> write_report([Path("/tmp/a"), Path("/tmp/b")], Path("report.html"))
    """
    runs = read_runs(workdirs)
    warnings = [warning for run in runs for warning in run.warnings]
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    values = {
        "warnings": warnings,
        "plots": [plot(figure, name) for name, figure in curves(runs).items()],
        "results": results(runs),
        "settings": _side_by_side(runs, "settings"),
        "versions": _side_by_side(runs, "versions"),
        "commands": [[run.name, run.command] for run in runs],
        "common": _common(runs),
        "names": [run.name for run in runs],
    }
    write_page(path, Path(__file__).with_name("templates"), "training_report.html", values)


def curves(runs: Sequence[Run]) -> dict[str, "Figure"]:
    """Returns a figure for each quantity that a run has, by name; one line per run."""
    from plotly import graph_objects

    figures = {}
    for name, (title, factor) in _CURVES.items():
        figure = graph_objects.Figure()
        for run in runs:
            points = [
                (r["epoch"], r[name] * factor) for r in run.records if r.get(name) is not None
            ]
            x, y = zip(*points, strict=True) if points else ((), ())
            # Also if it is empty, so that a run has the same colour in all plots.
            figure.add_scatter(x=x, y=y, name=run.name, mode="lines+markers", showlegend=True)
        if any(trace.x for trace in figure.data):
            figure.update_layout(title=title, xaxis_title="epoch", height=380)
            figures[name] = figure
    return figures


def results(runs: Sequence[Run]) -> dict[str, Any]:
    """Returns the table of final numbers: headers and rows; a top-5 only if a run shows it."""
    columns: dict[str, Callable[[Run], str]] = {
        "run": lambda run: run.name,
        "network": lambda run: _network(run.settings),
        "step": lambda run: _last(run, "step", "{:,.0f}"),
        "epoch": lambda run: _last(run, "epoch", "{:g}"),
        "top-1, last": lambda run: _last(run, "top1", "{:.2%}"),
        "top-1, best (step)": lambda run: _best(run, "top1"),
        "top-5, last": lambda run: _last(run, "top5", "{:.2%}"),
        "AP, last": lambda run: _last(run, "ap", "{:.2%}"),
        "AP, best (step)": lambda run: _best(run, "ap"),
        "AP50, last": lambda run: _last(run, "ap50", "{:.2%}"),
        "loss in evaluation": lambda run: _last(run, "eval_loss", "{:.4f}"),
        "loss in training": lambda run: _last(run, "train_loss", "{:.4f}"),
        "images evaluated": lambda run: _last(run, "eval_images", "{:,.0f}"),
        "images/s, median": _speed,
    }
    records = [record for run in runs for record in run.records]
    known = {name for record in records for name in record if record[name] is not None}
    # Without any evaluation, a classifier's are shown.
    missing = tuple(title for name, title in _TITLES.items() if name not in (known or _USUAL))
    columns = {key: value for key, value in columns.items() if not key.startswith(missing)}
    rows = [[value(run) for value in columns.values()] for run in runs]
    return {"headers": list(columns), "rows": rows}


def _last(run: Run, name: str, form: str) -> str:
    value = run.records[-1].get(name) if run.records else None
    return _NONE if value is None else form.format(value)


def _best(run: Run, name: str) -> str:
    if run.score != name:
        return _NONE
    return f"{run.best[name]:.2%} ({run.best['step']:,})"


def _speed(run: Run) -> str:
    speeds = [r["images_per_second"] for r in run.records if r.get("images_per_second")]
    return f"{statistics.median(speeds):,.0f}" if speeds else _NONE


def _network(settings: dict[str, Any]) -> str:
    groups = f" g={settings['groups']}" if settings.get("groups") else ""
    return f"{settings.get('model', _NONE)} {settings.get('scale', '')}x{groups}"


def _side_by_side(runs: Sequence[Run], kind: str) -> list[list[str]]:
    return [
        [name, *(_NONE if value is None else str(value) for value in values)]
        for name, values in differing(runs, kind).items()
    ]


def _common(runs: Sequence[Run]) -> list[list[str]]:
    different = differing(runs, "settings")
    settings = runs[0].settings.items()
    return [[name, str(value)] for name, value in settings if name not in different]
