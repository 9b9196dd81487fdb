"""The table of detectors side by side."""

from collections.abc import Sequence

from benchmarks.other_runtimes.comparison import NAMES
from benchmarks.other_runtimes.files import OURS, PUBLISHED
from common.table import markdown_table
from edge.running.measurement import interval

_HEADERS = (
    "detector, runtime, graph",
    "pixels",
    "million multiply-adds",
    "float32, ms (p10-p90)",
    "int8, ms (p10-p90)",
    "ours in int8 faster",
    "than its best",
    "float32 error",
    "int8 cosine",
)


def detectors_table(rows: Sequence[dict], missing: Sequence[str]) -> str:
    """Returns the markdown table of what `compare_all` returns, and a line of what is missing."""
    pairs: dict[tuple[str, str, str], dict[str, dict]] = {}
    for row in rows:
        pair = pairs.setdefault((row["detector"], row["runtime"], row["graph"]), {})
        pair[row["precision"]] = row
    table = markdown_table(_HEADERS, [_cells(pair) for pair in pairs.values()])
    return "\n\n".join([table, *([f"Not run: {'; '.join(missing)}."] if missing else [])])


def _cells(pair: dict[str, dict]) -> list[str]:
    """Returns the cells of one detector in one runtime, from its rows by precision."""
    best = min(pair.values(), key=lambda row: row["ms"]["median"])
    float32, int8 = pair.get("float32"), pair.get("int8")
    parts = [best["title"], NAMES[best["runtime"]]]
    if best["graph"] != PUBLISHED:
        parts.append(best["graph"])
    count = best["multiply_adds"]
    is_ours = (best["runtime"], best["graph"]) == (OURS.runtime, OURS.graph)
    return [
        ", ".join(parts),
        str(best["pixels"]),
        "" if count is None else f"{count / 1e6:.0f}",
        interval(float32["ms"]) if float32 else "int8 only",
        interval(int8["ms"]) if int8 else "float32 only",
        "ours" if is_ours else interval(best["to_ours"], 2, bold=True, unit="x"),
        "" if is_ours else _compared(best),
        f"{float32['max_abs_error']:.0e}" if float32 else "",
        f"{int8['cosine']:.3f}" if int8 else "",
    ]


def _compared(best: dict) -> str:
    counterpart = "" if best["counterpart"] == best["detector"] else f"{best['counterpart']}, "
    return f"{counterpart}int8 against {best['precision']}"
