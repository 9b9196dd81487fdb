"""Accuracy over multiply-adds and over measured latency, of networks trained in the same way."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.training.trainings import NETWORKS, RIVALS, AccuracyConfig, convert, train
from common import files
from common.console.table import markdown_table
from edge.running.measurement import interval, statistics
from edge.running.side_by_side import Turns, measure
from trainers.config import TrainConfig

# The networks that can be trained.
ALL = {**NETWORKS, **RIVALS}
# By graph, the marker in the picture.
_GRAPHS = {"deployment": "o", "canonical": "x"}


def train_and_convert(config: AccuracyConfig) -> list[dict]:
    """Trains the networks that are not trained yet and converts them to int8.

    Args:
      config: which networks, and how they are trained.

    Returns:
      A point per int8 file: network, graph, file, macs, parameters, float accuracy, accuracy of
      the file, images and epochs.

    Raises:
      UserError: a command failed; it has said why.
    """
    points = []
    for name in config.networks:
        workdir = config.workdirs / name
        train(workdir, name, config, *config.length)
        epochs = TrainConfig.load(workdir).optimization.epochs
        for graph in ("canonical",) if name in RIVALS else ("canonical", "deployment"):
            artifact = config.workdirs / f"{name}-{graph}"
            manifest = convert(workdir, artifact, f"--graph={graph}", "--quantization=int8-ptq")
            ((file, entry),) = manifest["files"].items()
            model = manifest["model"]
            point = {
                "network": name,
                "graph": graph,
                "file": str((artifact / file).absolute()),
                "macs": model["macs"],
                "parameters": model["parameters"],
                "float_accuracy": model["accuracy"],
                "accuracy": entry["accuracy"],
                "images": model["accuracy_images"],
                "epochs": epochs,
            }
            points.append(point)
    return points


def timed(points: Sequence[dict], turns: Turns) -> list[dict]:
    """Returns the points with `latency`, statistics in ms, of interleaved rounds on one core."""
    request = {"files": [point["file"] for point in points]}
    (times,) = measure("edge.running.timing", {"all networks": request}, turns).values()
    # Results are published: they must not name folders on this machine.
    return [
        {**point, "file": Path(point["file"]).name, "latency": statistics(list(row))}
        for point, row in zip(points, times, strict=True)
    ]


def table(points: Sequence[dict]) -> str:
    """Returns a markdown table with a row per int8 file."""
    rows = [
        [
            f"{point['network']}, {point['graph']}",
            f"{point['macs'] / 1e6:.2f}",
            f"{point['parameters'] / 1e3:.0f}",
            f"{point['float_accuracy']:.2%}",
            f"{point['accuracy']:.2%}",
            interval(point["latency"]),
        ]
        for point in points
    ]
    headers = ["network, graph", "million multiply-adds", "thousand parameters", "float"]
    return markdown_table([*headers, "int8", "int8, ms (p10-p90)"], rows)


def draw(points: Sequence[dict], path: Path) -> None:
    """Draws the int8 accuracy against multiply-adds and against latency into a PNG file."""
    names = list(dict.fromkeys(point["network"] for point in points))
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for point in points:
        style = {"marker": _GRAPHS[point["graph"]], "color": f"C{names.index(point['network'])}"}
        label = f"{point['network']}, {point['graph']}"
        accuracy = 100 * point["accuracy"]
        left.plot([point["macs"] / 1e6], [accuracy], linestyle="none", label=label, **style)
        right.plot([point["latency"]["median"]], [accuracy], linestyle="none", label=label, **style)
    left.set(xlabel="million multiply-adds", ylabel="int8 accuracy, %")
    right.set(xlabel="int8 latency, ms, one thread")
    for axes in (left, right):
        # From zero, so that lengths can be compared, and with room for the last marker.
        axes.set_xlim(0, 1.08 * max(line.get_xdata()[0] for line in axes.lines))
    right.legend(fontsize="small")
    with files.atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
