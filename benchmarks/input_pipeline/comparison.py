"""Pipelines in interleaved rounds and fresh processes, and the table of their rates."""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.input_pipeline.images import image_folder
from benchmarks.input_pipeline.settings import OURS, PIPELINES, SETTINGS, serves
from common.console.progress import Progress
from common.console.table import markdown_table
from edge.running.measurement import interval, spread
from edge.running.side_by_side import call, interleave


@dataclass(frozen=True)
class PipelineConfig:
    """The flags of `benchmarks.pipeline`.

    Attributes:
      settings: keys of `benchmarks.input_pipeline.settings.SETTINGS`.
      pipelines: keys of `PIPELINES` there.
      rounds: each runs every pipeline once.
      seconds: about how long a pipeline reads per round.
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
    """Returns by setting and pipeline the images per second of every round.

    Raises:
      UserError: a pipeline failed; the message names it.
    """
    tasks = {
        (setting, pipeline): functools.partial(_turn, config, setting, pipeline)
        for setting in config.settings
        for pipeline in config.pipelines
        if serves(pipeline, SETTINGS[setting])
    }
    with Progress("measuring", config.rounds * len(tasks), unit="turn") as progress:
        found = interleave(tasks, config.rounds, progress)
    rates: dict[str, dict[str, list[float]]] = {}
    for (setting, pipeline), values in found.items():
        rates.setdefault(setting, {})[pipeline] = values
    return rates


def pipelines_table(settings: dict[str, dict[str, list[float]]]) -> str:
    """Returns the markdown table; ours is compared with the others in the same round."""
    headers = ["images, pipeline", "images/s (p10-p90)", "ours is faster"]
    rows = []
    for setting, rates in settings.items():
        for pipeline, values in rates.items():
            faster = ""
            if OURS in rates and pipeline != OURS:
                ratios = spread(np.divide(rates[OURS], values))
                faster = interval(ratios, 2, bold=True, unit="x")
            rows.append([f"{setting}, {pipeline}", interval(spread(values), 0), faster])
    return markdown_table(headers, rows)


def _turn(config: PipelineConfig, setting: str, pipeline: str) -> float:
    request = {
        "setting": dataclasses.asdict(SETTINGS[setting]),
        "pipeline": pipeline,
        "folder": str(image_folder(SETTINGS[setting].images, config.cache)),
        "seconds": config.seconds,
        "cores": list(config.cores),
    }
    return call(PIPELINES[pipeline], pipeline, request)["images_per_second"]
