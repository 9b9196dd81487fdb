"""Reads what TensorFlow Lite's `benchmark_model` prints.

The formats differ from version to version: with and without "INFO: ", tabs or spaces, columns
that come and go, "Peak memory footprint" or "Memory footprint delta"; newer versions add median
and percentiles to the line of the timed runs.
"""

import math
import re

from common.cli import UserError

_NUMBER = r"[-+]?[\d.]+(?:e[-+]?\d+)?"
_PREFIX = re.compile(r"^(?:INFO: )?", re.M)
_COUNT = re.compile(rf"^count=(\d+)((?: \w+={_NUMBER})*)\s*$", re.M)
_FIELD = re.compile(rf"(\w+)=({_NUMBER})")
_TIMINGS = re.compile(
    rf"^Inference timings in us: Init: ({_NUMBER}), First inference: ({_NUMBER}),.*"
    rf"Inference \(avg\): ({_NUMBER})",
    re.M,
)
_MEMORY = re.compile(rf"^(Peak memory footprint|Memory footprint delta).*overall=({_NUMBER})", re.M)
_APPLIED = re.compile(
    r"pplied (\w+) delegate, and the model graph will be (completely|partially) executed"
)
_KERNELS = re.compile(r"partially executed by the delegate w/ (\d+) delegate kernels")
_REFUSED = re.compile(r"Though (\w+) delegate is \w+ applied, the model graph will not be executed")
_CREATED_XNNPACK = "Created TensorFlow Lite XNNPACK delegate for CPU"
_ERROR = re.compile(r"^(?:ERROR: )?(.*\b(?:error|failed|fail|cannot|could not)\b.*)$", re.M | re.I)
_LONGEST_ROW = 2000
_REGULAR_RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs"
_CELL = rf"\s+({_NUMBER})%?"
_COLUMN = re.compile(r"\[([^\]]+)\]")
# From the tool's columns to ours.
_KIND_COLUMNS = {"count": "count", "avg ms": "ms", "times called": "calls"}
_NODE_COLUMNS = {"avg ms": "ms", "times called": "calls"}


def parse(text: str) -> dict:
    """Reads a measurement.

    Args:
      text: everything that the program printed.

    Returns:
      `latency_ms` with min, mean, max and runs; with std, median, p5 and p95, which are null for
      versions that do not print them; and with p10 and p90, null because no version prints them.
      `warmup`, the number of untimed inferences, if it is printed; `initialization_ms`, `first_ms`;
      `peak_memory_bytes` and `memory_delta_bytes`, one of them null.

    Raises:
      UserError: the text has no measurement.
    """
    text = _PREFIX.sub("", text)
    counts, timings = _COUNT.findall(text), _TIMINGS.search(text)
    # A profile ends with such a line, too, but after the words "Timings (microseconds): ".
    runs = [(count, dict(_FIELD.findall(fields))) for count, fields in counts]
    if not runs or timings is None:
        raise UserError(f"benchmark_model measured nothing: {failure(text)}")
    count, found = runs[-1]
    # After a single run it prints only this one time.
    mean = found.get("avg", timings.group(3))
    latency = {"mean": mean, "min": found.get("min", mean), "max": found.get("max", mean)}
    optional = ("median", "p5", "p95", "std")
    memory = {kind: float(megabytes) for kind, megabytes in _MEMORY.findall(text)}
    return {
        "latency_ms": {
            **{key: _milliseconds(value) for key, value in latency.items()},
            **{key: _milliseconds(found.get(key)) for key in optional},
            "p10": None,
            "p90": None,
            "runs": int(count),
        },
        **({"warmup": int(runs[0][0])} if len(runs) > 1 else {}),
        "initialization_ms": _milliseconds(timings.group(1)),
        "first_ms": _milliseconds(timings.group(2)),
        "peak_memory_bytes": _bytes(memory.get("Peak memory footprint")),
        "memory_delta_bytes": _bytes(memory.get("Memory footprint delta")),
    }


def delegated(text: str, name: str) -> dict:
    """Returns how much of the graph a delegate runs.

    Args:
      text: everything that the program printed.
      name: the delegate as the program calls it, such as "GPU".

    Returns:
      `delegated`: "completely", "partially", or null for XNNPACK if this version does not say; and
      `delegate_kernels`: the number of pieces that it runs, or null.

    Raises:
      UserError: it runs nothing, so that the measurement says nothing about it.
    """
    # Several delegates can be applied one after the other.
    if name.upper() in map(str.upper, _REFUSED.findall(text)):
        raise UserError(f"the {name} delegate runs no part of this graph")
    for applied, extent in _APPLIED.findall(text):
        if applied.upper() == name.upper():
            kernels = _KERNELS.search(text)
            pieces = int(kernels.group(1)) if kernels else None
            return {
                "delegated": extent,
                "delegate_kernels": 1 if extent == "completely" else pieces,
            }
    if name == "XNNPACK" and _CREATED_XNNPACK in text:
        return {"delegated": None, "delegate_kernels": None}
    raise UserError(f"benchmark_model does not say that the {name} delegate ran; get a newer one")


def parse_profile(text: str) -> dict:
    """Reads the profile of the timed runs by operator, printed with --enable_op_profiling=true.

    Returns:
      `kinds`, a list of {"operator", "count", "ms", "calls"}, and `nodes` in the order in which
      they ran, {"operator", "name", "ms", "calls"}; `ms` is the time of all calls in an inference.

    Raises:
      UserError: the text has no profile.
    """
    _, found, profile = _PREFIX.sub("", text).partition(_REGULAR_RUNS)
    kinds = _table(profile, "Summary by node type", _KIND_COLUMNS)
    if not found or not kinds:
        raise UserError("benchmark_model printed no profile; get a newer one")
    nodes = _table(profile, "Run Order", _NODE_COLUMNS)
    # In this table the average is per call, and a delegate's node can be called several times.
    nodes = [{**node, "ms": round(node["ms"] * node["calls"], 6)} for node in nodes]
    return {"kinds": kinds, "nodes": nodes}


def failure(text: str) -> str:
    """Returns the line that best explains why the program failed."""
    errors = [match.group(1).strip() for match in _ERROR.finditer(text)]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (errors or lines[-1:] or ["it printed nothing"])[0]


def _table(text: str, title: str, columns: dict[str, str]) -> list[dict]:
    """Returns the rows of the table under a title like "==== Run Order ====", in its order."""
    _, found, table = text.partition(f" {title} =")
    if not found:
        return []
    _, header, *lines = table.split("\n")
    _, *names = _COLUMN.findall(header)
    named = names[-1:] == ["Name"]
    numbers = names[:-1] if named else names
    row = re.compile(r"^\s*(.+?)" + _CELL * len(numbers) + r"(?:\s+(\S.*))?$")
    rows = []
    for line in lines:
        # In a line of blanks the expression would look for its cells at each of them.
        match = row.match(line) if len(line) < _LONGEST_ROW else None
        if match is None:
            break
        operator, *cells, name = match.groups()
        values = dict(zip(numbers, cells, strict=True))
        entry = {ours: float(values[theirs]) for theirs, ours in columns.items()}
        entry = {key: value if key == "ms" else round(value) for key, value in entry.items()}
        rows.append({"operator": operator, **({"name": name} if named else {}), **entry})
    return rows


def _milliseconds(microseconds: str | None) -> float | None:
    if microseconds is None:
        return None
    try:
        found = float(microseconds) / 1e3
    except ValueError:
        found = math.nan
    if not math.isfinite(found) or found < 0:
        raise UserError(f"benchmark_model printed {microseconds} as a time in us; run it again")
    return found


def _bytes(megabytes: float | None) -> int | None:
    # The tool divides by 1024 twice.
    return None if megabytes is None or megabytes < 0 else round(megabytes * 2**20)
