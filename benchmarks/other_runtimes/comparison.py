"""Checks what other runtimes compute, times them next to LiteRT, and writes the table."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.other_runtimes.files import OURS, Comparison, Variant, write_files
from common.cli import UserError
from common.console.progress import Progress
from common.console.table import markdown_table
from edge.running.measurement import interval, spread, statistics
from edge.running.side_by_side import Turns, call, measure

# Largest difference of float32 logits from those of Keras, as a share of their standard deviation.
FLOAT_BOUND = 1e-4
# Smallest cosine between int8 logits and those of Keras; with red and blue exchanged it is 0.94 on
# v2-1x. The int8 file is made from the float32 one, which must satisfy `FLOAT_BOUND`.
INT8_BOUND = 0.95
_WORKER = "benchmarks.other_runtimes.worker"
NAMES = {
    "litert": "LiteRT",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "ncnn": "ncnn",
}


@dataclass(frozen=True)
class RuntimesConfig:
    """What to measure, and how often: the flags of `benchmarks.runtimes`."""

    networks: tuple[str, ...]
    runtimes: tuple[str, ...]
    cache: Path
    turns: Turns


def compare_all(config: RuntimesConfig) -> dict[str, list[dict]]:
    """Returns for every network the summaries of its variants.

    Raises:
      UserError: a runtime fails, or its logits differ from those of Keras.
    """
    comparisons, checks = {}, {}
    with Progress("converting", len(config.networks), unit="network") as progress:
        for network in config.networks:
            folder = config.cache / f"runtimes_{network}"
            folder.mkdir(parents=True, exist_ok=True)
            comparisons[network] = write_files(network, config.runtimes, folder)
            checks[network] = check_outputs(network, comparisons[network], config)
            progress.update(len(checks))
    requests = {network: _request(comparison) for network, comparison in comparisons.items()}
    times = measure(_WORKER, requests, config.turns)
    return {
        network: summarize(list(comparison.files), checks[network], times[network])
        for network, comparison in comparisons.items()
    }


def check_outputs(
    network: str, comparison: Comparison, config: RuntimesConfig
) -> list[dict[str, float]]:
    """Returns for every variant how its logits differ from the Keras model's.

    Raises:
      UserError: the logits of one differ by more than `FLOAT_BOUND` or `INT8_BOUND` allows.
    """
    request = {**_request(comparison), **config.turns.request(), "rounds": 0}
    reply = call(_WORKER, network, request)
    differences = []
    for variant, logits in zip(comparison.files, reply["logits"], strict=True):
        found = difference(np.array(logits), comparison.logits)
        if not _close_enough(variant, found):
            raise UserError(
                f"{NAMES[variant.runtime]}'s {variant.precision} {variant.graph} graph of "
                f"{network} does not compute what Keras does: cosine "
                f"{found['cosine']:.3f}, error {found['relative_error']:.1e} of the logits' "
                "standard deviation; measure without it (--runtimes)"
            )
        differences.append(found)
    return differences


def difference(logits: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Returns how logits [images, classes] differ from the expected ones.

    Returns:
      The largest error, absolute and as a share of the expected logits' standard deviation, and
      the lowest cosine of an image's logits.
    """
    error = float(np.abs(logits - expected).max())
    lengths = np.linalg.norm(logits, axis=1) * np.linalg.norm(expected, axis=1)
    return {
        "max_abs_error": error,
        "relative_error": error / float(expected.std()),
        "cosine": float(((logits * expected).sum(axis=1) / lengths).min()),
    }


def _close_enough(variant: Variant, found: dict[str, float]) -> bool:
    # Written so that NaN does not count as close.
    if variant.precision == "int8":
        return found["cosine"] >= INT8_BOUND
    return found["relative_error"] <= FLOAT_BOUND


def _request(comparison: Comparison) -> dict:
    models = [(variant.runtime, str(path)) for variant, path in comparison.files.items()]
    return {"models": models, "images": str(comparison.images)}


def summarize(
    found: list[Variant], checks: list[dict[str, float]], times: np.ndarray
) -> list[dict]:
    """Returns statistics of one network's times.

    Args:
      found: the variants, `OURS` among them.
      checks: of every variant, what `difference` returns.
      times: milliseconds, [variants, rounds].

    Returns:
      For every variant its fields, its differences, its statistics, and the ratio of its time to
      that of `OURS` in the same round.
    """
    ours = times[found.index(OURS)]
    return [
        {**asdict(variant), **check, "ms": statistics(list(row)), "to_ours": spread(row / ours)}
        for variant, check, row in zip(found, checks, times, strict=True)
    ]


def runtimes_table(networks: dict[str, list[dict]]) -> str:
    """Returns the markdown table of what `compare_all` returns."""
    headers = [
        "network, runtime, graph",
        "float32, ms (p10-p90)",
        "int8, ms (p10-p90)",
        "ours in int8 faster than its best",
        "float32 error",
        "int8 cosine",
    ]
    rows = []
    for network, summaries in networks.items():
        pairs: dict[tuple[str, str], dict[str, dict]] = {}
        for summary in summaries:
            pair = pairs.setdefault((summary["runtime"], summary["graph"]), {})
            pair[summary["precision"]] = summary
        for (runtime, graph), pair in pairs.items():
            rows.append([f"{network}, {NAMES[runtime]}, {graph}", *_cells(pair)])
    return markdown_table(headers, rows)


def _cells(pair: dict[str, dict]) -> list[str]:
    """Returns the cells of one runtime and graph, from its summaries by precision."""
    best = min(pair.values(), key=lambda summary: summary["ms"]["median"])
    ratio, int8 = best["to_ours"], pair.get("int8")
    is_ours = (best["runtime"], best["graph"]) == (OURS.runtime, OURS.graph)
    return [
        interval(pair["float32"]["ms"]),
        interval(int8["ms"]) if int8 else "float32 only",
        "ours" if is_ours else interval(ratio, 2, bold=True, unit="x"),
        f"{pair['float32']['max_abs_error']:.0e}",
        f"{int8['cosine']:.3f}" if int8 else "",
    ]
