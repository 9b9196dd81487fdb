"""Compiles both graphs of a network with Vela for one NPU of each family, side by side."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring.files import int8_file
from common.console.progress import Progress
from common.console.table import markdown_table
from common.tflite.vela import compile_file
from common.tflite.vela_settings import VelaSettings, clock, milliseconds

GRAPHS = ("canonical", "deployment")
OPTIMISE = ("performance", "size")
_KIB = 1024


def measure_all(networks: Sequence[str], accelerators: Sequence[str], cache: Path) -> list[dict]:
    """Returns a row for each network and accelerator.

    Args:
      networks: keys of `benchmarks.measuring.networks.NETWORKS`.
      accelerators: Vela's accelerator configurations.
      cache: folder of converted files.
    """
    rows = []
    with Progress("compiling", len(networks) * len(accelerators), unit="pair") as progress:
        for network in networks:
            paths = {graph: int8_file(network, graph, "ethosu", cache) for graph in GRAPHS}
            for accelerator in accelerators:
                estimates = {
                    graph: {each: _estimate(path, accelerator, each) for each in OPTIMISE}
                    for graph, path in paths.items()
                }
                rows.append({"network": network, "accelerator": accelerator, **estimates})
                progress.update(len(rows))
    return rows


def _estimate(path: Path, accelerator: str, optimise: str) -> dict:
    found = compile_file(path, accelerator, None, VelaSettings(optimise=optimise))
    kept = ("cycles", "memory_bytes", "clock_hz", "system_config", "memory_mode", "cpu_operators")
    return {name: found[name] for name in kept}


def ethosu_table(rows: Sequence[dict]) -> str:
    """Returns the markdown table of what `measure_all` returns."""
    headers = [
        *("network, NPU", "system, memory mode", "clock", "usual, ms", "ours, ms", "usual / ours"),
        *("SRAM usual, KiB", "ours, KiB", "DRAM usual, KiB", "ours, KiB"),
        *("ours with size, ms", "SRAM, KiB", "left to the CPU: usual", "ours"),
    ]
    return markdown_table(headers, [_cells(row) for row in rows])


def _cells(row: dict) -> list[str]:
    usual, ours = (row[graph]["performance"] for graph in GRAPHS)
    small = row["deployment"]["size"]
    return [
        f"{row['network']}, {row['accelerator']}",
        f"{ours['system_config']}, {ours['memory_mode']}",
        clock(ours["clock_hz"]),
        *(f"{milliseconds(each):.2f}" for each in (usual, ours)),
        f"**{usual['cycles']['total'] / ours['cycles']['total']:.2f}x**",
        *(_kib(each, area) for area in ("sram", "dram") for each in (usual, ours)),
        *(f"{milliseconds(small):.2f}", _kib(small, "sram")),
        *(_operators(each["cpu_operators"]) for each in (usual, ours)),
    ]


def _kib(estimate: dict, area: str) -> str:
    return f"{estimate['memory_bytes'].get(area, 0) / _KIB:,.0f}"


def _operators(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
