"""Runs graphs through TFLite Micro's interpreter and through Vela, side by side."""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import vela
from benchmarks.measuring.files import int8_file
from common.cli import UserError
from common.progress import Progress
from common.table import markdown_table
from edge.running import worker
from edge.running.measurement import statistics

GRAPHS = ("canonical", "deployment")


@dataclass(frozen=True)
class SmallDevicesConfig:
    """What to compare: the flags of `benchmarks.micro_and_npu`."""

    networks: tuple[str, ...]
    cache: Path
    runs: int


def measure_all(config: SmallDevicesConfig) -> list[dict]:
    """Returns a row for every network and graph."""
    pairs = [(network, graph) for network in config.networks for graph in GRAPHS]
    rows = []
    with Progress("comparing", len(pairs), unit="graph") as progress:
        for network, graph in pairs:
            micro = int8_file(network, graph, "micro", config.cache)
            npu = int8_file(network, graph, "ethosu", config.cache)
            rows.append(
                {
                    "network": network,
                    "graph": graph,
                    "micro": measure_micro(micro, config.runs),
                    "ethosu": {name: vela.estimate(npu, name) for name in vela.ACCELERATORS},
                }
            )
            progress.update(len(rows))
    return rows


def measure_micro(path: Path, runs: int) -> dict:
    """Returns TFLite Micro's arena in bytes and its times on this machine."""
    found = worker.call("benchmarks.measuring.micro_worker", {"file": str(path), "runs": runs})
    return {
        "bytes": path.stat().st_size,
        "arena_bytes": found["arena_bytes"],
        "simulated_ms": statistics(found["milliseconds"]),
    }


def tool_versions() -> dict[str, str]:
    """Returns the versions of TFLite Micro and Vela by their packages' names.

    Raises:
      UserError: one is not installed.
    """
    extras = {"tflite-micro": "micro", "ethos-u-vela": "ethosu"}
    versions = {}
    for package, extra in extras.items():
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError as error:
            raise UserError(
                f"{package} is not installed; pip install 'keras_shufflenet[{extra}]'"
            ) from error
    return versions


def comparison_table(rows: list[dict]) -> str:
    """Returns the markdown table of what `measure_all` gives."""
    headers = [
        "network, graph",
        "Micro arena, KiB",
        "Micro simulated, ms (fastest)",
        *[f"{name}, million cycles" for name in vela.ACCELERATORS],
        "operators left to the CPU",
    ]
    cells = []
    for row in rows:
        ethosu = row["ethosu"]
        cells.append(
            [
                f"{row['network']}, {row['graph']}",
                f"{row['micro']['arena_bytes'] / 1024:,.0f}",
                f"{row['micro']['simulated_ms']['min']:,.0f}",
                *[f"{estimate['cycles'] / 1e6:.2f}" for estimate in ethosu.values()],
                "; ".join(sorted({_operators(estimate["cpu"]) for estimate in ethosu.values()})),
            ]
        )
    return markdown_table(headers, cells)


def _operators(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
