"""Chooses the bands in which a network's beginning is computed, by measuring TFLite Micro's arena.

Every candidate is measured with the interpreter itself, because its planner does not reach the
lower bound that the tensors' lifetimes give, and every operator costs some of its own memory.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.cli import UserError
from common.tflite.micro_runtime import MicroRuntime, RefusedError, micro_version
from converters.measurement_cache import cache_folder, cached
from converters.micro_target.bands import Bands, Region, heights, write_bands
from converters.micro_target.costs import peak_bytes, total_macs
from converters.micro_target.flat_graph import FlatGraph
from converters.micro_target.rows import NoBandsError
from converters.micro_target.settings import MemorySettings
from converters.micro_target.tables import shrink_tables, strip_names
from converters.source_digest import source_digest

# More bands than these gain less than their tables cost.
_COUNTS = range(2, 11)
# Of arenas that differ by less, the one with the fewest multiply-adds is chosen.
_SIMILAR = 0.03
_SOURCES = ("converters/micro_target/*.py", "common/tflite/micro_runtime.py")


@dataclass(frozen=True)
class Candidate:
    """One way to compute the beginning.

    Attributes:
      bands: where the bands end; no stops: the network as it is.
      extra_macs: the multiply-adds more.
      share: of the network's multiply-adds.
      arena_bytes: measured.
    """

    bands: Bands
    extra_macs: int
    share: float
    arena_bytes: int


@dataclass(frozen=True)
class Fit:
    """A rewritten file.

    Attributes:
      content: of the file.
      chosen: its bands.
      arena_before: bytes of the arena of the file before.
      message: why it has no bands; None if it has.
    """

    content: bytes
    chosen: Candidate
    arena_before: int
    message: str | None = None

    def describe(self) -> dict:
        """Returns the field `memory` of the manifest (docs/artifact.md)."""
        return {
            "bands": len(self.chosen.bands.stops),
            "height": self.chosen.bands.height or None,
            "stops": list(self.chosen.bands.stops),
            "extra_macs": self.chosen.extra_macs,
            "extra_share": self.chosen.share,
            "arena_before": self.arena_before,
            "arena_bytes": self.chosen.arena_bytes,
            "message": self.message,
        }


def fit(content: bytes, settings: MemorySettings, cache: Path | None = None) -> Fit | None:
    """Rewrites an int8 file so that TFLite Micro needs less memory for the same results.

    Args:
      content: of a .tflite file.
      settings: what it may cost.
      cache: folder of measurements; by default in the user's cache.

    Returns:
      The file; None if nothing can be measured, because TFLite Micro is not installed or refuses
      the file.

    Raises:
      UserError: no candidate has an arena as small as the settings demand, or it cannot be
        measured.

    Examples:
      >>> fit(path.read_bytes(), MemorySettings(max_overhead=0.05)).chosen.arena_bytes
      299680
    """
    if micro_version() is None:
        if settings.arena is not None:
            raise UserError(
                "--arena needs TFLite Micro's interpreter, which measures it; "
                "pip install 'keras_shufflenet[micro]'"
            )
        return None
    try:
        search = _Search(content, cache or cache_folder("bands"))
    except RefusedError:  # What writes the firmware says which operators are missing.
        return None
    candidates, message = search.candidates(settings)
    chosen = _choose(candidates, settings, message)
    if chosen.bands.stops:
        message = None
    elif message is None:
        enough = "--arena is reached without them"
        message = enough if settings.arena else "they would not make the arena smaller"
    return Fit(search.rewritten(chosen.bands).pack(), chosen, search.before, message)


def _choose(
    candidates: list[Candidate], settings: MemorySettings, message: str | None
) -> Candidate:
    allowed = [each for each in candidates if each.share <= settings.max_overhead]
    smallest = min(allowed, key=lambda each: each.arena_bytes)
    limit = (1 + _SIMILAR) * smallest.arena_bytes if settings.arena is None else settings.arena
    enough = [each for each in allowed if each.arena_bytes <= limit]
    if not enough:
        raise UserError(_unreachable(candidates, smallest, settings, message))
    return min(enough, key=lambda each: (each.extra_macs, each.arena_bytes))


def _unreachable(
    candidates: list[Candidate], smallest: Candidate, settings: MemorySettings, message: str | None
) -> str:
    text = (
        f"--arena={settings.arena} cannot be reached: the smallest arena with at most "
        f"{100 * settings.max_overhead:.4g}% more multiply-adds (--max_overhead) is "
        f"{smallest.arena_bytes:,} bytes"
    )
    if message is not None:
        text += f", because {message}"
    others = [each for each in candidates if each.arena_bytes <= settings.arena]
    if others:
        cheapest = min(others, key=lambda each: each.share)
        return f"{text}; --max_overhead={np.ceil(1e3 * cheapest.share) / 10:g}% reaches it"
    return f"{text}; use a smaller network or smaller images (shufflenet plan)"


class _Search:
    """The candidates of one file; measurements are kept from run to run."""

    def __init__(self, content: bytes, cache: Path):
        self.cache = cache
        self.plain = FlatGraph(content)
        shrink_tables(self.plain)
        strip_names(self.plain)
        self.key = {
            "structure": _structure(content),
            "tflite_micro": micro_version(),
            "sources": source_digest("canonical", _SOURCES),
        }
        self.before = self._measure("before", lambda: content)["arena_bytes"]

    def rewritten(self, bands: Bands) -> FlatGraph:
        """Returns the file with small tables, in these bands, without names."""
        graph = self.plain.clone()
        write_bands(graph, bands)
        return graph

    def candidates(self, settings: MemorySettings) -> tuple[list[Candidate], str | None]:
        """Returns the candidates, the plain one first, and why there is no other."""
        measured = self._measure("plain", self.rewritten(Bands()).pack)
        candidates = [Candidate(Bands(), 0, 0.0, measured["arena_bytes"])]
        if settings.bands == "off":
            return candidates, "--bands=off"
        try:
            self._add_banded(candidates, measured["arena_bytes"] - measured["head_bytes"], settings)
        except NoBandsError as error:
            return candidates, f"its beginning cannot be computed in bands: {error}"
        return candidates, None

    def _add_banded(
        self, candidates: list[Candidate], tables: int, settings: MemorySettings
    ) -> None:
        """Measures all that may be chosen; `tables` are the bytes of the plain file's tables."""
        total = total_macs(self.plain)
        # The most bands first: when their arena is known, few of the others need to be measured.
        for bands, extra in sorted(self._bands(), key=lambda each: -len(each[0].stops)):
            share = extra / total
            if share > settings.max_overhead and settings.arena is None:
                continue
            rewritten = self.rewritten(bands)
            smallest = min(each.arena_bytes for each in candidates)
            # Bands make the tables larger, so this is a lower bound.
            bound = peak_bytes(rewritten) + tables
            if bound > max(settings.arena or 0, (1 + _SIMILAR) * smallest):
                continue
            try:
                measured = self._measure([bands.height, *bands.stops], rewritten.pack)
            except RefusedError as error:
                raise NoBandsError(f"TFLite Micro: {error}") from error
            candidates.append(Candidate(bands, extra, share, measured["arena_bytes"]))

    def _bands(self) -> Iterator[tuple[Bands, int]]:
        """Yields the bands for every height and number of them, and their extra multiply-adds."""
        for height in heights(self.plain):
            region = Region(self.plain.clone(), height)
            for stops in dict.fromkeys(map(region.stops, _COUNTS)):
                if len(stops) > 1:
                    yield Bands(height, stops), region.extra_macs(stops)

    def _measure(self, what: str | list[int], pack: Callable[[], bytes]) -> dict[str, int]:
        def measure() -> dict[str, int]:
            found = MicroRuntime(pack()).allocations()
            return {"arena_bytes": found.total, "head_bytes": found.head}

        key = {**self.key, "bands": what}
        return cached(self.cache, key, ["arena_bytes", "head_bytes"], measure)


def _structure(content: bytes) -> str:
    """Returns a hash of all that the arena depends on: everything but weights and scales."""
    graph = FlatGraph(content)
    text = [str((graph.inputs, graph.outputs))]
    for operator in graph.operators:
        tensors = [int(each) for each in (*operator.inputs, *operator.outputs)]
        options = vars(operator.builtinOptions) if operator.builtinOptions else {}
        shapes = [(graph.shape(each), graph.tensors[each].type) for each in tensors if each >= 0]
        small = [graph.values(each).tolist() for each in tensors if _is_setting(graph, each)]
        text.append(str((graph.code(operator), tensors, sorted(options.items()), shapes, small)))
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def _is_setting(graph: FlatGraph, tensor: int) -> bool:
    """Returns whether a tensor holds numbers such as a padding, and not weights."""
    if tensor < 0 or graph.tensors[tensor].type != schema.TensorType.INT32:
        return False
    return graph.is_constant(tensor) and not graph.has_scale(tensor)
