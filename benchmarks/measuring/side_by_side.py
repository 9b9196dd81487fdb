"""Times a network's canonical, deployment and floor files side by side."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measuring.files import int8_file
from benchmarks.measuring.interleaved_rounds import Turns, measure
from benchmarks.measuring.report import interval, spread
from common.progress import Progress
from common.table import markdown_table
from edge.running.measurement import statistics

GRAPHS = ("canonical", "deployment", "floor")


@dataclass(frozen=True)
class LatencyConfig:
    """What to measure and how often: the flags of `benchmarks.latency`."""

    networks: tuple[str, ...]
    cache: Path
    turns: Turns


def convert_all(config: LatencyConfig) -> dict[str, list[Path]]:
    """Returns each network's files in the order of `GRAPHS`; converts those not in the cache."""
    files: dict[str, list[Path]] = {}
    total = len(config.networks) * len(GRAPHS)
    with Progress("converting", total, unit="file") as progress:
        for network in config.networks:
            files[network] = []
            for graph in GRAPHS:
                files[network].append(int8_file(network, graph, "cpu", config.cache))
                progress.update(sum(map(len, files.values())))
    return files


def measure_all(config: LatencyConfig, files: dict[str, list[Path]]) -> dict[str, dict]:
    """Returns the summary of every network's times."""
    requests = {
        network: {"files": [str(path) for path in paths], **config.turns.request()}
        for network, paths in files.items()
    }
    times = measure("edge.running.timing", requests, config.turns)
    return {network: summarize(files[network], table) for network, table in times.items()}


def summarize(paths: list[Path], times: np.ndarray) -> dict:
    """Returns statistics of one network's times.

    Args:
      paths: the files in the order of `GRAPHS`.
      times: milliseconds, [graphs, rounds].

    Returns:
      For every graph its statistics and size, and the ratios between graphs: of the same round,
      so that what slows a round down counts on both sides.
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
    """Returns the markdown table of what `measure_all` gives."""
    headers = [
        "network",
        *[f"{graph}, ms (p10-p90)" for graph in GRAPHS],
        "faster than canonical",
        "times the floor",
    ]
    rows = []
    for network, summary in networks.items():
        cells = [interval(times) for times in summary["graphs"].values()]
        gain = interval(summary["canonical_to_deployment"], 2, bold=True, unit="x")
        rows.append([network, *cells, gain, interval(summary["deployment_to_floor"], 2)])
    return markdown_table(headers, rows)
