"""Profiles as tables: by kind, canonical next to deployment graph, and operator by operator."""

from collections.abc import Sequence
from operator import itemgetter

from common.console.table import format_table, markdown_table
from edge.profiling.layers import KINDS
from edge.running.measurement import graph_pairs

_NONE = "-"
SUM, WHOLE = "sum of operators", "network, unwatched"
# Without disturbance, the median is less than this factor above the 10th percentile.
_DISTURBED = 1.5
# Accepted range of the operators' sum, as a share of the network's time.
_ADDS_UP = (0.75, 1.25)
_KIND_HEADERS = (
    *("file", "kind", "operators", "us", "p10", "p90", "share", "Mmacs", "of macs"),
    *("GMAC/s", "GB/s"),
)
_OPERATOR_HEADERS = (
    *("file", "layer", "operator", "runtime's name", "output", "us", "p10", "p90", "share"),
    *("kmacs", "access cost", "GMAC/s", "GB/s"),
)


def kind_rows(record: dict) -> list[list[str]]:
    """Returns one row per kind of a file, one for their sum, and one for the whole network."""
    profile = record["operator_profile"]
    all_macs = sum(kind["macs"] for kind in profile["kinds"])
    rows = [
        [
            record["file"],
            kind["kind"],
            str(kind["operators"]),
            *_times(kind),
            _percent(kind["share"]),
            _scaled(kind["macs"], 1e6),
            _percent(kind["macs"] / all_macs) if all_macs else _NONE,
            _scaled(kind["macs_per_second"], 1e9),
            _scaled(kind["bytes_per_second"], 1e9),
        ]
        for kind in profile["kinds"]
    ]
    total = 1e-3 * sum(kind["us"] for kind in profile["kinds"])
    rows.append(_total(record, SUM, {**profile["operators_ms"], "median": total}, all_macs))
    rows.append(_total(record, WHOLE, profile["whole_ms"], all_macs))
    return rows


def kind_table(records: Sequence[dict]) -> str:
    """Returns the kinds of all files as an aligned table."""
    return format_table(_KIND_HEADERS, [row for record in records for row in kind_rows(record)])


def caution(records: Sequence[dict]) -> str | None:
    """Returns warnings about a disturbed machine or operators that do not add up, or None."""
    lines = []
    for record in records:
        whole, share = record["operator_profile"]["whole_ms"], _covered(record)
        if whole["median"] > _DISTURBED * whole["p10"]:
            lines.append(
                f"{record['file']}: other work disturbed the inferences ({whole['p10']:.3g} to "
                f"{whole['p90']:.3g} ms); measure again on a quiet machine."
            )
        elif not _ADDS_UP[0] <= share <= _ADDS_UP[1]:
            lines.append(
                f"{record['file']}: the operators add up to {share:.0%} of the network, because "
                "many are very short. --method=profiler rounds their times down, --method=single "
                "adds a call to each: the true times are in between."
            )
    return "\n".join(lines) or None


def operator_table(records: Sequence[dict], limit: int | None = None) -> str:
    """Returns each file's operators as a table: the slowest `limit`, or all in file order."""
    rows = []
    for record in records:
        operators = record["operator_profile"]["operators"]
        if limit is not None:
            operators = sorted(operators, key=lambda one: -one["us"])[:limit]
        rows += [_operator_row(record["file"], operator) for operator in operators]
    return format_table(_OPERATOR_HEADERS, rows, left_columns=4)


def pairs(records: Sequence[dict]) -> list[tuple[dict, dict]]:
    """Returns the canonical and the deployment record of each model and quantization with both.

    Two files that are not from an artifact are a pair, in their order.
    """
    if len(records) == 2 and all(record["graph"] is None for record in records):
        return [(records[0], records[1])]
    return graph_pairs(
        records, itemgetter("artifact", "model", "quantization"), itemgetter("graph")
    )


def side_by_side(first: dict, second: dict, markdown: bool = False) -> str:
    """Returns two files' microseconds by kind side by side, and what the second one saves."""
    columns = [_kinds(first), _kinds(second)]
    rows = []
    for kind in KINDS:
        if not any(kind in column for column in columns):
            continue
        before, after = (column.get(kind, 0.0) for column in columns)
        rows.append([kind, f"{before:.0f}", f"{after:.0f}", f"{before - after:.0f}"])
    totals = [sum(column.values()) for column in columns]
    rows.append([SUM, *(f"{total:.0f}" for total in totals), _saved(totals)])
    wholes = [1e3 * one["operator_profile"]["whole_ms"]["median"] for one in (first, second)]
    rows.append([WHOLE, *(f"{whole:.0f}" for whole in wholes), _saved(wholes)])
    headers = ["us", first["file"], second["file"], "saved"]
    return markdown_table(headers, rows) if markdown else format_table(headers, rows, 1)


def markdown(records: Sequence[dict]) -> str:
    """Returns the pairs and the kinds as markdown tables."""
    rows = [row for record in records for row in kind_rows(record)]
    tables = [side_by_side(*pair, markdown=True) for pair in pairs(records)]
    return "\n\n".join([*tables, markdown_table(_KIND_HEADERS, rows)])


def _kinds(record: dict) -> dict[str, float]:
    return {kind["kind"]: kind["us"] for kind in record["operator_profile"]["kinds"]}


def _covered(record: dict) -> float:
    profile = record["operator_profile"]
    return sum(kind["us"] for kind in profile["kinds"]) / (1e3 * profile["whole_ms"]["median"])


def _saved(totals: Sequence[float]) -> str:
    return f"{totals[0] - totals[1]:.0f}"


def _total(record: dict, name: str, milliseconds: dict, macs: int) -> list[str]:
    times = [f"{1e3 * milliseconds[key]:.0f}" for key in ("median", "p10", "p90")]
    # The operators of a tiny network take less than the runtime's clock tells apart.
    rate = _scaled(macs / milliseconds["median"] * 1e3 if milliseconds["median"] else None, 1e9)
    profile = record["operator_profile"]
    count = str(len(profile["operators"]))
    # Of the operators' sum, like the share of each kind.
    total = sum(kind["us"] for kind in profile["kinds"])
    share = _percent(1e3 * milliseconds["median"] / total if total else 1)
    return [record["file"], name, count, *times, share, _scaled(macs, 1e6), "", rate, ""]


def _operator_row(file: str, operator: dict) -> list[str]:
    shape = operator.get("output_shape")
    return [
        file,
        operator.get("layer", _NONE),
        operator.get("operator", _NONE),
        operator["runtime_name"] or _NONE,
        "x".join(map(str, shape[1:])) if shape else _NONE,
        *_times(operator),
        _percent(operator["share"]),
        _scaled(operator.get("macs"), 1e3),
        f"{operator['memory_access_cost']:,}" if "layer" in operator else _NONE,
        _scaled(operator.get("macs_per_second"), 1e9),
        _scaled(operator.get("bytes_per_second"), 1e9),
    ]


def _times(row: dict) -> list[str]:
    return [f"{row[key]:.1f}" for key in ("us", "p10_us", "p90_us")]


def _scaled(value: float | None, unit: float) -> str:
    return _NONE if not value else f"{value / unit:,.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
