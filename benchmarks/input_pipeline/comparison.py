"""Pipelines that take turns in fresh processes, and the table of their rates."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.input_pipeline.images import image_folder
from benchmarks.input_pipeline.settings import OURS, PIPELINES, SETTINGS, serves
from benchmarks.measuring.report import interval
from common.cli import UserError
from common.progress import Progress
from common.table import markdown_table
from edge.running import worker
from edge.running.measurement import statistics


@dataclass(frozen=True)
class PipelineConfig:
    """The flags of `benchmarks.pipeline`.

    Attributes:
      settings: keys of `benchmarks.input_pipeline.settings.SETTINGS`.
      pipelines: keys of `PIPELINES` there.
      rounds: turns of every pipeline.
      seconds: about how long a turn reads.
      cores: CPU cores to run on.
      cache: folder of the images.
    """

    settings: tuple[str, ...]
    pipelines: tuple[str, ...]
    rounds: int
    seconds: float
    cores: tuple[int, ...]
    cache: Path


def compare(config: PipelineConfig) -> dict[str, dict[str, list[float]]]:
    """Returns by setting and pipeline the images a second of every round.

    Raises:
      UserError: a pipeline failed; it is named.
    """
    turns = [
        (setting, pipeline)
        for setting in config.settings
        for _ in range(config.rounds)
        for pipeline in config.pipelines
        if serves(pipeline, SETTINGS[setting])
    ]
    rates: dict[str, dict[str, list[float]]] = {}
    with Progress("measuring", len(turns), unit="turn") as progress:
        for index, (setting, pipeline) in enumerate(turns, 1):
            rate = _turn(config, setting, pipeline)
            rates.setdefault(setting, {}).setdefault(pipeline, []).append(rate)
            progress.update(index)
    return rates


def pipelines_table(settings: dict[str, dict[str, list[float]]]) -> str:
    """Returns the markdown table; ours is compared with the others of the same round."""
    headers = ["images, pipeline", "images/s (p10-p90)", "ours is faster"]
    rows = []
    for setting, rates in settings.items():
        for pipeline, values in rates.items():
            ratios = np.divide(rates[OURS], values).tolist() if OURS in rates else []
            other = ratios and pipeline != OURS
            faster = interval(statistics(ratios), 2, bold=True, unit="x") if other else ""
            rows.append([f"{setting}, {pipeline}", interval(statistics(values), 0), faster])
    return markdown_table(headers, rows)


def _turn(config: PipelineConfig, setting: str, pipeline: str) -> float:
    request = {
        "setting": dataclasses.asdict(SETTINGS[setting]),
        "pipeline": pipeline,
        "folder": str(image_folder(SETTINGS[setting].images, config.cache)),
        "seconds": config.seconds,
        "cores": list(config.cores),
    }
    try:
        return worker.call(PIPELINES[pipeline], request)["images_per_second"]
    except UserError as error:
        raise UserError(f"{pipeline} cannot be measured: {error}") from error
