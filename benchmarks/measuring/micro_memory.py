"""Measures what bands save of TFLite Micro's arena, against the usual conversion."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.cli import UserError
from common.console.progress import Progress
from common.console.table import markdown_table
from common.tflite.micro_runtime import MicroRuntime
from converters.conversion_cache import Network, convert, file_name
from converters.graph.deployment import deployment_graph
from converters.micro_target.bands import Region
from converters.micro_target.costs import live_bytes
from converters.micro_target.fitting import fit
from converters.micro_target.flat_graph import FlatGraph
from converters.micro_target.settings import MemorySettings
from converters.planning.networks import build
from edge.running.micro_worker import timed_inference
from edge.running.side_by_side import interleave

_QUANTIZATION = "int8-ptq"
_SOURCES = ("converters/planning/networks.py",)
_KIB = 1024


def measure_all(
    networks: Sequence[str], settings: MemorySettings, cache: Path, rounds: int
) -> list[dict]:
    """Returns a row for each network.

    Args:
      networks: such as "v2-0.5x@96:1000": the planner's name of a network, pixels and classes.
      settings: what bands may cost.
      cache: folder of converted files and measured arenas.
      rounds: how often each file runs, in turn.
    """
    rows = []
    with Progress("measuring", len(networks), unit="network") as progress:
        for name in networks:
            rows.append(measure(name, settings, cache, rounds))
            progress.update(len(rows))
    return rows


def measure(name: str, settings: MemorySettings, cache: Path, rounds: int) -> dict:
    """Returns the arenas, bytes and times of a network in the usual conversion and in ours."""
    usual, ours = (network_file(name, graph, cache) for graph in ("canonical", "deployment"))
    arenas = cache / "arenas"
    plain = fit(ours, MemorySettings(bands="off"), arenas)
    banded = fit(ours, settings, arenas)
    files = {"usual": usual, "before": ours, "plain": plain.content, "bands": banded.content}
    runtimes = {kind: MicroRuntime(content) for kind, content in files.items()}
    return {
        "network": name,
        "arena_bytes": {kind: each.arena_bytes() for kind, each in runtimes.items()},
        "file_bytes": {kind: len(content) for kind, content in files.items()},
        "memory": banded.describe(),
        "floor": _floor(plain.content, banded.chosen.bands.height),
        "fastest_ms": _times(runtimes, FlatGraph(ours), rounds),
    }


def parts(name: str) -> tuple[str, int, int]:
    """Returns the network, pixels and classes of a name such as "v2-0.5x@96:1000".

    Raises:
      UserError: the name has another form.
    """
    found = re.fullmatch(r"([^@:]+)@(\d+):(\d+)", name)
    if found is None:
        raise UserError(f"--networks must be written as v2-0.5x@96:1000; received {name!r}")
    return found[1], int(found[2]), int(found[3])


def network_file(name: str, graph: str, cache: Path) -> bytes:
    """Returns an int8 file of a network, converted now unless the cache has it.

    Args:
      name: such as "v2-0.5x@96:1000".
      graph: "canonical" or "deployment", in the lowering for TFLite Micro.
      cache: folder of converted files.
    """
    network, size, classes = parts(name)
    one = Network(
        name=f"micro_{network}_{size}px_{classes}_{graph}",
        build=functools.partial(build, network, size, 3, classes),
        sources=_SOURCES,
        graphs=(graph,),
        quantizations=(_QUANTIZATION,),
        rewrite=functools.partial(deployment_graph, target="micro"),
    )
    return (convert(one, cache) / file_name(graph, _QUANTIZATION)).read_bytes()


def _floor(content: bytes, height: int) -> int:
    """Returns the bytes that no bands get below: of what must be whole, and the tables.

    Whole are the image, and later, when it is not needed any more, what the operators after the
    bands need at once; the tables are those of the file without bands.
    """
    found, graph = MicroRuntime(content).allocations(), FlatGraph(content)
    whole = sum(map(graph.size, graph.inputs))
    if height:
        region = Region(graph, height)
        rest = [each for at, each in enumerate(graph.operators) if at not in region.members]
        whole = max(whole, *live_bytes(graph, rest, graph.outputs, region.ends))
    return whole + found.total - found.head


def _times(runtimes: dict[str, MicroRuntime], graph: FlatGraph, rounds: int) -> dict[str, float]:
    """Returns the fastest of some runs in turn; milliseconds of the process's CPU time."""
    image = np.random.default_rng(0).integers(-128, 128, graph.input_shape).astype(np.int8)
    tasks = {
        kind: functools.partial(timed_inference, runtime, [image])
        for kind, runtime in runtimes.items()
    }
    return {kind: min(each) for kind, each in interleave(tasks, rounds).items()}


def memory_table(rows: Sequence[dict]) -> str:
    """Returns the markdown table of what `measure_all` returns."""
    headers = [
        *("network, pixels", "usual, KiB", "ours without, KiB", "in bands, KiB", "of the usual"),
        *("bands, rows at their end", "more multiply-adds", "floor, KiB", "time / usual"),
        "file / usual",
    ]
    return markdown_table(headers, [_cells(row) for row in rows])


def _cells(row: dict) -> list[str]:
    arenas, files, times = row["arena_bytes"], row["file_bytes"], row["fastest_ms"]
    memory, (network, size, classes) = row["memory"], parts(row["network"])
    return [
        f"{network}, {size} ({classes} classes)",
        *(f"{arenas[kind] / _KIB:,.1f}" for kind in ("usual", "before")),
        f"**{arenas['bands'] / _KIB:,.1f}**",
        f"{arenas['bands'] / arenas['usual']:.0%}",
        f"{memory['bands']}, {memory['height']}" if memory["bands"] else "none",
        f"{memory['extra_share']:.1%}",
        f"{row['floor'] / _KIB:,.1f}",
        f"{times['bands'] / times['usual']:.2f}",
        f"{files['bands'] / files['usual']:.2f}",
    ]
