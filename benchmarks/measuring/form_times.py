"""Times a network's deployment graph with one field of its lowering changed, side by side."""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measuring.interleaved_rounds import Turns, measure
from benchmarks.measuring.networks import build
from benchmarks.measuring.report import interval, spread
from common.cli import UserError
from common.progress import Progress
from common.table import markdown_table
from converters.conversion.tflite import convert_fake_quant
from converters.graph.deployment import deployment_graph
from converters.graph.targets import LOWERINGS, Lowering
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import fake_quant_model
from converters.random_weights import calibration_images


@dataclass(frozen=True)
class FormTimesConfig:
    """What to compare and how often: the flags of `benchmarks.forms`."""

    networks: tuple[str, ...]
    target: str
    field: str
    values: tuple[str, ...]
    turns: Turns


def lowerings(config: FormTimesConfig) -> dict[str, Lowering]:
    """Returns by value the target's lowering with `config.field` changed to it.

    Raises:
      UserError: a lowering has no such field, or the field no such value.
    """
    lowering = LOWERINGS[config.target]
    fields = [f.name for f in dataclasses.fields(lowering) if f.name != "shuffle"]
    if config.field not in fields:
        raise UserError(f"a lowering has no field {config.field!r} to change; {', '.join(fields)}")
    convert = type(getattr(lowering, config.field))
    try:
        return {
            v: dataclasses.replace(lowering, **{config.field: convert(v)}) for v in config.values
        }
    except ValueError as error:
        raise UserError(f"{config.field}: {error}; change --values") from error


def measure_all(config: FormTimesConfig) -> dict[str, np.ndarray]:
    """Returns by network the milliseconds [values, rounds] of int8 files that take turns."""
    requests = {}
    with tempfile.TemporaryDirectory() as folder:
        with Progress("converting", len(config.networks), unit="network") as progress:
            for network in config.networks:
                files = _convert(network, lowerings(config), Path(folder))
                requests[network] = {"files": files, **config.turns.request()}
                progress.update(len(requests))
        return measure("edge.running.timing", requests, config.turns)


def _convert(network: str, changed: dict[str, Lowering], folder: Path) -> list[str]:
    model = build(network)
    images = calibration_images(model.input_shape)
    paths = []
    for value, lowering in changed.items():
        graph = deployment_graph(model, lowering=lowering)
        path = folder / f"{network}_{value}.tflite"
        path.write_bytes(convert_fake_quant(fake_quant_model(graph, calibrate(graph, images))))
        paths.append(str(path))
    return paths


def form_table(config: FormTimesConfig, times: dict[str, np.ndarray]) -> str:
    """Returns the markdown table of what `measure_all` gives.

    The ratios are of the first value's times to each value's, of turns of the same round.
    """
    headers = ["network", config.field, "ms (p10-p90)", f"faster than {config.values[0]}"]
    rows = []
    for network, table in times.items():
        for value, row in zip(config.values, table, strict=True):
            gain = interval(spread(table[0] / row), 2, unit="x")
            rows.append([network, value, interval(spread(row)), gain])
    return markdown_table(headers, rows)
