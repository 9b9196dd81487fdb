"""Times a network's canonical, deployment and lower-bound (`floor`) files side by side."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.measuring.files import GRAPHS, int8_file
from common.console.progress import Progress
from common.console.table import markdown_table
from edge.running.measurement import interval, spread, statistics
from edge.running.side_by_side import Turns, measure


def convert_all(networks: Sequence[str], cache: Path) -> dict[str, list[Path]]:
    """Returns each network's files in the order of `GRAPHS`, converted unless in the cache."""
    files: dict[str, list[Path]] = {network: [] for network in networks}
    with Progress("converting", len(networks) * len(GRAPHS), unit="file") as progress:
        for done, (network, graph) in enumerate(itertools.product(networks, GRAPHS), 1):
            files[network].append(int8_file(network, graph, "cpu", cache))
            progress.update(done)
    return files


def measure_all(files: dict[str, list[Path]], turns: Turns) -> dict[str, dict]:
    """Returns the summary of every network's times."""
    requests = {network: {"files": list(map(str, paths))} for network, paths in files.items()}
    times = measure("edge.running.timing", requests, turns)
    return {network: summarize(files[network], table) for network, table in times.items()}


def summarize(paths: list[Path], times: np.ndarray) -> dict:
    """Returns statistics of one network's times.

    Args:
      paths: the files in the order of `GRAPHS`.
      times: milliseconds, [graphs, rounds].

    Returns:
      For every graph its statistics and size, and the ratios between graphs in the same round, so
      that whatever slows a round down affects both.
    """
    canonical, deployment, floor = times
    return {
        "graphs": {
            graph: {**statistics(list(row)), "bytes": path.stat().st_size}
            for graph, path, row in zip(GRAPHS, paths, times, strict=True)
        },
        "canonical_to_deployment": spread(canonical / deployment),
        "deployment_to_floor": spread(deployment / floor),
    }


def latency_table(networks: dict[str, dict]) -> str:
    """Returns the markdown table of what `measure_all` returns."""
    rows = []
    for network, summary in networks.items():
        cells = [interval(one) for one in summary["graphs"].values()]
        gain = interval(summary["canonical_to_deployment"], 2, bold=True, unit="x")
        rows.append([network, *cells, gain, interval(summary["deployment_to_floor"], 2)])
    headers = [
        "network",
        *(f"{graph}, ms (p10-p90)" for graph in GRAPHS),
        "faster than canonical",
        "times the floor",
    ]
    return markdown_table(headers, rows)
