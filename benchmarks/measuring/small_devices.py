"""Runs graphs through TFLite Micro's interpreter and through Vela, side by side."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring.files import int8_file
from benchmarks.measuring.results import installed_versions
from common.console.progress import Progress
from common.console.table import markdown_table
from common.tflite.vela import compile_file
from edge.running import worker
from edge.running.measurement import statistics

GRAPHS = ("canonical", "deployment")
# By name in tables: Vela's accelerator configuration.
ACCELERATORS = {
    "U55-128": "ethos-u55-128",
    "U55-256": "ethos-u55-256",
    "U65-256": "ethos-u65-256",
}


def measure_all(networks: Sequence[str], cache: Path, runs: int) -> list[dict]:
    """Returns a row for each network and graph.

    Args:
      networks: keys of `benchmarks.measuring.networks.NETWORKS`.
      cache: folder of converted files.
      runs: inferences in TFLite Micro.
    """
    pairs = [(network, graph) for network in networks for graph in GRAPHS]
    rows = []
    with Progress("comparing", len(pairs), unit="graph") as progress:
        for network, graph in pairs:
            micro = int8_file(network, graph, "micro", cache)
            npu = int8_file(network, graph, "ethosu", cache)
            rows.append(
                {
                    "network": network,
                    "graph": graph,
                    "micro": measure_micro(micro, runs),
                    "ethosu": {name: estimate(npu, name) for name in ACCELERATORS},
                }
            )
            progress.update(len(rows))
    return rows


def measure_micro(path: Path, runs: int) -> dict:
    """Returns TFLite Micro's arena in bytes and its times on this machine."""
    request = {"artifact": str(path.parent), "file": path.name, "images": runs, "cores": []}
    found = worker.call("edge.running.micro_worker", request)
    return {
        "bytes": path.stat().st_size,
        "arena_bytes": found["arena_bytes"],
        "simulated_ms": statistics(found["milliseconds"]),
    }


def estimate(path: Path, accelerator: str) -> dict:
    """Compiles a .tflite file for an Ethos-U and returns Vela's own estimate.

    Args:
      path: an int8 .tflite file.
      accelerator: a key of `ACCELERATORS`.

    Returns:
      `cycles` of one inference, including the NPU's waiting for memory (operators on the CPU are
      not counted), `sram_bytes`, and the operators that stay on the CPU, {name: count}.

    Raises:
      UserError: Vela cannot compile the file.

    Examples:
      >>> estimate(Path("model_int8.tflite"), "U55-128")["cycles"]
    """
    found = compile_file(path, ACCELERATORS[accelerator])
    return {
        "cycles": found["cycles"]["total"],
        "sram_bytes": found["memory_bytes"]["sram"],
        "cpu": found["cpu_operators"],
    }


def tool_versions() -> dict[str, str]:
    """Returns the versions of TFLite Micro and Vela by package name.

    Raises:
      UserError: one of them is not installed.
    """
    remedy = "pip install 'keras_shufflenet[micro,ethosu]'"
    return installed_versions(("tflite-micro", "ethos-u-vela"), remedy)


def comparison_table(rows: list[dict]) -> str:
    """Returns the markdown table of what `measure_all` returns."""
    headers = [
        "network, graph",
        "Micro arena, KiB",
        "Micro simulated, ms (fastest)",
        *[f"{name}, million cycles" for name in ACCELERATORS],
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
