"""Networks that are converted, measured side by side, and looked up by name."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.artifact import Artifact
from converters.conversion_cache import QUANTIZATIONS, Network, convert_all, file_name
from edge.running.measurement import interval, spread
from experiments.harness.experiment import Settings
from experiments.measuring.devices import File, Times, measure

SHOWN = {"none": "float32", "int8-ptq": "int8"}

# By group and label; the networks of a group are measured in interleaved rounds.
Networks = Mapping[tuple[str, str], Network]


@dataclass(frozen=True)
class Latencies:
    """Times of networks, with their multiply-adds and parameters.

    Attributes:
      times: as `experiments.measuring.devices.measure` returns them.
      models: by group and label, the artifact's record of the model: macs and parameters.
      graphs: by group and label, the graphs that were measured.
    """

    times: Times
    models: Mapping[tuple[str, str], Mapping[str, int]]
    graphs: Mapping[tuple[str, str], tuple[str, ...]]

    def ms(
        self, group: str, label: str, quantization: str = "int8-ptq", graph: str | None = None
    ) -> np.ndarray:
        """Returns milliseconds of the passes, NaN where the device could not run the file.

        Args:
          group, label: of the network.
          quantization: "none" or "int8-ptq".
          graph: "canonical" or "deployment"; None: "deployment" if there is one.
        """
        graph = graph or self.graphs[group, label][-1]
        return self.times[_file_group(group, quantization)][_file_label(label, graph)]

    def spread(self, *key: str) -> dict[str, float]:
        """Returns the median, p10 and p90 of what `ms` returns."""
        return spread(self.ms(*key))

    def text(self, *key: str, digits: int = 2) -> str:
        """Returns the same for a table's cell."""
        return interval(self.spread(*key), digits)

    def texts(self, group: str, label: str, graph: str | None = None) -> list[str]:
        """Returns the cells of a table's two columns, "float32, ms" and "int8, ms"."""
        return [self.text(group, label, quantization, graph) for quantization in QUANTIZATIONS]

    def size(self, group: str, label: str, digits: int = 2) -> list[str]:
        """Returns the cells of "multiply-adds, M", with this number of digits, and "parameters"."""
        model = self.models[group, label]
        return [f"{model['macs'] / 1e6:.{digits}f}", f"{model['parameters']:,}"]

    def ratio(self, group: str, slow: str, fast: str, *key: str) -> dict[str, float]:
        """Returns how many times as long one network takes as another, within a pass."""
        return spread(self.ms(group, slow, *key) / self.ms(group, fast, *key))

    def ratio_text(self, *key: str) -> str:
        """Returns the same for a table's cell, such as "1.43x (1.40-1.47)"."""
        return interval(self.ratio(*key), 2, unit="x")

    def as_json(self, group: str, label: str) -> dict:
        """Returns all that is known about a network."""
        return {
            "group": group,
            "network": label,
            **self.models[group, label],
            "ms": {
                graph: {
                    SHOWN[quantization]: _as_json(self.spread(group, label, quantization, graph))
                    for quantization in QUANTIZATIONS
                }
                for graph in self.graphs[group, label]
            },
        }


def measure_networks(name: str, networks: Networks, settings: Settings) -> Latencies:
    """Converts the networks that the cache lacks, and measures all in float32 and int8.

    Args:
      name: of the experiment.
      networks: with both quantizations; a network with several labels is converted once.
      settings: the device, and how often.

    Raises:
      UserError: as `experiments.measuring.devices.measure`.
    """
    different = {one.name: one for one in networks.values()}
    folders = convert_all(list(different.values()), settings.cache)
    files: dict[str, dict[str, File]] = {}
    for (group, label), one in networks.items():
        for quantization in QUANTIZATIONS:
            members = files.setdefault(_file_group(group, quantization), {})
            for graph in one.graphs:
                file = File(folders[one.name], file_name(graph, quantization))
                members[_file_label(label, graph)] = file
    models = {one: Artifact.open(folder).manifest["model"] for one, folder in folders.items()}
    return Latencies(
        times=measure(name, files, settings),
        models={key: models[one.name] for key, one in networks.items()},
        graphs={key: one.graphs for key, one in networks.items()},
    )


def _as_json(times: Mapping[str, float]) -> dict[str, float | None]:
    # JSON has no NaN.
    return {name: None if np.isnan(value) else value for name, value in times.items()}


def _file_group(group: str, quantization: str) -> str:
    return f"{group}, {SHOWN[quantization]}"


def _file_label(label: str, graph: str) -> str:
    return f"{label}, {graph}"
