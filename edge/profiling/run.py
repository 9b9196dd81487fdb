"""Measures where the time of .tflite files goes: by operator and by kind of operator."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from common.cli import UserError
from edge.profiling.layers import KINDS, Layer, read_layers
from edge.profiling.match import match_layers, runtime_kind
from edge.running import worker
from edge.running.measurement import spread, statistics

_WORKER = "edge.profiling.worker"
PROFILER, SINGLE = "profiler", "single"
METHODS: dict[str, str] = {
    PROFILER: "LiteRT's own profiler: each operator in the running network, from the end of the "
    "previous one, rounded down to whole microseconds",
    SINGLE: "each operator as a separate file, with its data in the caches and the cost of a call: "
    "without the runtime's fusions and the memory transfers between operators",
}
AUTO = "auto"


@dataclass(frozen=True)
class ProfileRequest:
    """How files are profiled.

    Attributes:
      runs: timed inferences of each file, in interleaved rounds of one inference per file.
      warmup: rounds before the timed ones.
      threads: CPU threads.
      method: "profiler" or "single" (`METHODS`), or "auto": the first that this LiteRT supports.

    Raises:
      ValueError: a number is below its minimum, or the method is unknown.
    """

    runs: int = 100
    warmup: int = 10
    threads: int = 1
    method: str = AUTO

    def __post_init__(self):
        for name, low in {"runs": 1, "warmup": 0, "threads": 1}.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}; received {getattr(self, name)}")
        if self.method not in (AUTO, *METHODS):
            known = ", ".join((AUTO, *METHODS))
            raise ValueError(f"method must be one of {known}; received {self.method!r}")


def profile_files(paths: Sequence[Path], request: ProfileRequest | None = None) -> list[dict]:
    """Profiles .tflite files side by side, in one fresh process, on this machine's CPU.

    Args:
      paths: the files; LiteRT's profiler is only used for those of one input and one output.
      request: how to profile; None for the defaults.

    Returns:
      For each file the fields that docs/profile.md describes: `method`, `runs`, `whole_ms`,
      `operators_ms`, `kinds` and `operators`.

    Raises:
      UserError: a file is missing or damaged, or LiteRT refuses it.

    Examples:
      >>> (profile,) = profile_files([Path("deployment_int8_ptq.tflite")])
      >>> {kind["kind"]: kind["us"] for kind in profile["kinds"]}
      {'convolution': 520.4, 'depthwise': 166.0, 'data movement': 45.7, …}
    """
    request = request or ProfileRequest()
    layers = [read_layers(path) for path in paths]
    method, collected = _measure([str(path) for path in paths], request)
    return [_summarize(method, one, own) for one, own in zip(collected, layers, strict=True)]


def _measure(paths: list[str], request: ProfileRequest) -> tuple[str, list[dict]]:
    wanted = {"files": paths, **asdict(request)}
    if request.method != AUTO:
        return request.method, worker.call(_WORKER, wanted)["files"]
    try:
        return PROFILER, worker.call(_WORKER, {**wanted, "method": PROFILER})["files"]
    except UserError as error:
        reason = error
    collected = worker.call(_WORKER, {**wanted, "method": SINGLE})["files"]
    # Only now, so that an error in a file is reported once, by the second method.
    print(f"The profiler cannot be used: {reason}. Instead: {METHODS[SINGLE]}", file=sys.stderr)
    return SINGLE, collected


def _summarize(method: str, collected: dict, layers: list[Layer]) -> dict:
    times = np.array(collected["microseconds"], np.float64)  # [operators, runs]
    places = match_layers(collected["names"], collected["indices"], layers)
    operators = [
        _operator(name, row, None if place is None else layers[place])
        for name, row, place in zip(collected["names"], times, places, strict=True)
    ]
    total = sum(operator["us"] for operator in operators) or 1.0
    for operator in operators:
        operator["share"] = operator["us"] / total
    return {
        "method": method,
        "method_description": METHODS[method],
        "runs": times.shape[1],
        "whole_ms": statistics(collected["whole_ms"]),
        "operators_ms": statistics((times.sum(axis=0) / 1e3).tolist()),
        "kinds": _kinds(operators, times, layers),
        "operators": operators,
    }


def _operator(name: str | None, microseconds: np.ndarray, layer: Layer | None) -> dict:
    middle = middle_mean(microseconds)
    around = spread(microseconds)
    record = {
        "runtime_name": name,
        "kind": layer.kind if layer else runtime_kind(name or ""),
        "us": middle,
        "p10_us": around["p10"],
        "p90_us": around["p90"],
    }
    if layer is None:
        return record
    return {
        **record,
        "layer": layer.name,
        "operator": layer.operator,
        "output_shape": list(layer.output_shape),
        "macs": layer.macs,
        "memory_access_cost": layer.memory_access_cost,
        "memory_bytes": layer.memory_bytes,
        "macs_per_second": _rate(layer.macs, middle),
        "bytes_per_second": _rate(layer.memory_bytes, middle),
    }


def _kinds(operators: list[dict], times: np.ndarray, layers: list[Layer]) -> list[dict]:
    """Returns the totals of each kind that the runtime ran, in the order of `KINDS`."""
    by_kind = {
        kind: [at for at, one in enumerate(operators) if one["kind"] == kind] for kind in KINDS
    }
    return [
        _kind(
            kind,
            [operators[at] for at in places],
            times[places].sum(axis=0),
            [layer for layer in layers if layer.kind == kind],
        )
        for kind, places in by_kind.items()
        if places
    ]


def _kind(kind: str, operators: list[dict], sums: np.ndarray, layers: list[Layer]) -> dict:
    """Returns a kind's times, from the runtime's operators, and costs, from the file's."""
    microseconds = sum(operator["us"] for operator in operators)
    around = spread(sums)
    macs, memory_access_cost, memory_bytes = (
        sum(getattr(layer, cost) for layer in layers)
        for cost in ("macs", "memory_access_cost", "memory_bytes")
    )
    return {
        "kind": kind,
        "operators": len(operators),
        "us": microseconds,
        "p10_us": around["p10"],
        "p90_us": around["p90"],
        "share": sum(operator["share"] for operator in operators),
        "macs": macs,
        "memory_access_cost": memory_access_cost,
        "memory_bytes": memory_bytes,
        "macs_per_second": _rate(macs, microseconds),
        "bytes_per_second": _rate(memory_bytes, microseconds),
    }


def middle_mean(values: np.ndarray) -> float:
    """Returns the mean of the middle half; unlike a median it resolves less than a microsecond.

    Examples:
      >>> middle_mean(np.array([3, 3, 4, 900]))
      3.5
    """
    ordered = np.sort(np.asarray(values, np.float64))
    quarter = len(ordered) // 4
    return float(ordered[quarter : len(ordered) - quarter].mean())


def _rate(amount: int, microseconds: float) -> float | None:
    return amount / microseconds * 1e6 if amount and microseconds else None
