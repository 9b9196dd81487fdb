"""The table of detectors side by side."""

from collections.abc import Sequence

from benchmarks.other_runtimes.comparison import NAMES
from benchmarks.other_runtimes.files import OURS, PUBLISHED
from common.console.table import markdown_table
from edge.running.measurement import interval

_HEADERS = (
    "detector, runtime, graph",
    "pixels",
    "million multiply-adds",
    "float32, ms (p10-p90)",
    "int8, ms (p10-p90)",
    "compared with",
    "ours faster, both int8",
    "ours faster, both float32",
    "our int8 faster than its float32",
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
    float32, int8 = pair.get("float32"), pair.get("int8")
    row = float32 or int8
    parts = [row["title"], NAMES[row["runtime"]]]
    if row["graph"] != PUBLISHED:
        parts.append(row["graph"])
    count = row["multiply_adds"]
    return [
        ", ".join(parts),
        str(row["pixels"]),
        "" if count is None else f"{count / 1e6:.0f}",
        interval(float32["ms"]) if float32 else "int8 only",
        interval(int8["ms"]) if int8 else "float32 only",
        *_ratios(row["graph"], float32, int8),
        f"{float32['max_abs_error']:.0e}" if float32 else "",
        f"{int8['cosine']:.3f}" if int8 else "",
    ]


def _ratios(graph: str, float32: dict | None, int8: dict | None) -> list[str]:
    """Returns what the rows are compared with, and the three comparisons with it."""
    if graph == OURS.graph:
        return ["ours", "", "", ""]
    row = float32 or int8
    is_ours = row["counterpart"] == row["detector"]
    ratios = [int8 and int8["to_our_int8"]]
    ratios += [float32 and float32[name] for name in ("to_our_float32", "to_our_int8")]
    return [
        OURS.graph if is_ours else row["counterpart"],
        *(interval(ratio, 2, bold=True, unit="x") if ratio else "" for ratio in ratios),
    ]
