"""Times a network's deployment graph with one field of its lowering changed, side by side."""

import dataclasses
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measuring.networks import NETWORKS
from common.cli import UserError
from common.console.table import markdown_table
from converters.conversion_cache import Network, convert_all, file_name
from converters.graph.deployment import deployment_graph
from converters.graph.targets import LOWERINGS, Lowering
from edge.running.measurement import interval, spread
from edge.running.side_by_side import Turns, measure


@dataclass(frozen=True)
class FormTimesConfig:
    """What to compare, and how often: the flags of `benchmarks.forms`."""

    networks: tuple[str, ...]
    target: str
    field: str
    values: tuple[str, ...]
    turns: Turns


def lowerings(config: FormTimesConfig) -> dict[str, Lowering]:
    """Returns by value the target's lowering with `config.field` set to it.

    Raises:
      UserError: a lowering has no such field, or the field has no such value.
    """
    lowering = LOWERINGS[config.target]
    fields = [f.name for f in dataclasses.fields(lowering) if f.name != "shuffle"]
    if config.field not in fields:
        raise UserError(f"a lowering has no field {config.field!r}; --field: {', '.join(fields)}")
    convert = type(getattr(lowering, config.field))
    try:
        return {
            v: dataclasses.replace(lowering, **{config.field: convert(v)}) for v in config.values
        }
    except ValueError as error:
        raise UserError(f"{config.field}: {error}; change --values") from error


def measure_all(config: FormTimesConfig) -> dict[str, np.ndarray]:
    """Returns by network the milliseconds [values, rounds] of int8 files, round by round."""
    networks = {name: _converted(name, lowerings(config)) for name in config.networks}
    with tempfile.TemporaryDirectory() as folder:
        folders = convert_all([one for each in networks.values() for one in each], Path(folder))
        name = file_name("deployment", "int8-ptq")
        requests = {
            network: {"files": [str(folders[one.name] / name) for one in each]}
            for network, each in networks.items()
        }
        return measure("edge.running.timing", requests, config.turns)


def _converted(network: str, changed: dict[str, Lowering]) -> list[Network]:
    return [
        Network(
            name=f"{network}_{value}",
            build=NETWORKS[network],
            sources=(),
            graphs=("deployment",),
            quantizations=("int8-ptq",),
            rewrite=functools.partial(deployment_graph, lowering=lowering),
        )
        for value, lowering in changed.items()
    ]


def form_table(config: FormTimesConfig, times: dict[str, np.ndarray]) -> str:
    """Returns the markdown table of what `measure_all` returns.

    The ratios are those of the first value's times to each value's in the same round.
    """
    headers = ["network", config.field, "ms (p10-p90)", f"faster than {config.values[0]}"]
    rows = []
    for network, table in times.items():
        for value, row in zip(config.values, table, strict=True):
            gain = interval(spread(table[0] / row), 2, unit="x")
            rows.append([network, value, interval(spread(row)), gain])
    return markdown_table(headers, rows)
