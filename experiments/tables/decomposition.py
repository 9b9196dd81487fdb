"""V2 Figure 2: each kind of operator's share of the time, next to its share of multiply-adds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from common.cli import UserError
from converters.conversion_cache import QUANTIZATIONS, convert_all, file_name
from edge.profiling.layers import CONVOLUTION, KINDS, read_layers
from edge.profiling.match import kinds_of_nodes
from edge.profiling.picture import COLORS
from edge.profiling.run import ProfileRequest, profile_files
from edge.running.measurement import interval, spread
from experiments.harness.experiment import Picture, Result, Settings, Table
from experiments.measuring.devices import File, run_on_device
from experiments.measuring.latencies import SHOWN
from experiments.networks.models import MODELS, network

# V2's Figure 2 has V1 and MobileNet V2; V2 is the result of that analysis.
NETWORKS = ("v1-1x-g3", "mobilenet-v2", "v2-1x")
_WARMUP = 5


@dataclass(frozen=True)
class Decomposed:
    """A file's time by kind of operator.

    Attributes:
      network, graph, quantization: identify the file.
      microseconds: by kind, [passes].
      macs: by kind.
    """

    network: str
    graph: str
    quantization: str
    microseconds: Mapping[str, np.ndarray]
    macs: Mapping[str, int]

    @property
    def name(self) -> str:
        """Name of the table's row."""
        return f"{self.network}, {self.graph}"

    @property
    def total(self) -> np.ndarray:
        """Microseconds of all kinds, [passes]."""
        return np.sum(list(self.microseconds.values()), axis=0)

    def share(self, kind: str) -> float:
        """Returns a kind's share of the time: the median of the passes."""
        return spread(self.microseconds.get(kind, np.zeros(1)) / self.total)["median"]

    def macs_share(self, kind: str) -> float:
        """Returns a kind's share of the multiply-adds."""
        return self.macs.get(kind, 0) / sum(self.macs.values())


def run(settings: Settings) -> Result:
    """Profiles the networks, canonical and deployment graph, in float32 and int8.

    Raises:
      UserError: the device does not report its time by operator.
    """
    folders = convert_all([network(name) for name in NETWORKS], settings.cache)
    keys = [
        (name, graph, quantization)
        for quantization in QUANTIZATIONS
        for name in NETWORKS
        for graph in MODELS[name].graphs
    ]
    files = [File(folders[network(n).name], file_name(graph, q)) for n, graph, q in keys]
    passes = [_profile(files, settings) for _ in range(settings.passes)]
    found = [
        Decomposed(*key, _by_kind([one[index] for one in passes]), _macs(files[index]))
        for index, key in enumerate(keys)
    ]
    return Result(
        tables=[*(_time_table(q, found) for q in QUANTIZATIONS), _macs_table(found)],
        verdicts=list(_verdicts(found)),
        pictures=[Picture("kinds", "Time of one inference by kind of operator", _plot(found))],
        data={"files": [_as_json(one) for one in found]},
    )


def _profile(files: Sequence[File], settings: Settings) -> list[dict[str, float]]:
    """Returns the microseconds by kind of every file, once."""
    if settings.device == "host":
        request = ProfileRequest(runs=settings.runs, warmup=_WARMUP)
        found = [one["kinds"] for one in profile_files([file.path for file in files], request)]
    else:
        found = [_profile_on_device(file, settings) for file in files]
    return [{kind["kind"]: kind["us"] for kind in kinds} for kinds in found]


def _profile_on_device(file: File, settings: Settings) -> list[dict]:
    values = run_on_device(str(file.path), file, settings)
    if values is None or not values.get("profile"):
        raise UserError(
            f"{settings.device} does not report where the time of {file.path} goes; use "
            "--device=host, or --device=android with a benchmark_model that profiles"
        )
    return kinds_of_nodes(values["profile"]["nodes"])


def _by_kind(passes: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    return {
        kind: np.array([one.get(kind, 0.0) for one in passes])
        for kind in KINDS
        if any(kind in one for one in passes)
    }


def _macs(file: File) -> dict[str, int]:
    layers = read_layers(file.path)
    macs = {kind: sum(layer.macs for layer in layers if layer.kind == kind) for kind in KINDS}
    return {kind: count for kind, count in macs.items() if count}


def _time_table(quantization: str, found: Sequence[Decomposed]) -> Table:
    chosen = [one for one in found if one.quantization == quantization]
    kinds = [kind for kind in KINDS if any(kind in one.microseconds for one in chosen)]
    rows = [
        [one.name, interval(spread(one.total), 0), *(_percent(one.share(kind)) for kind in kinds)]
        for one in chosen
    ]
    note = "The paper draws its shares and prints no numbers."
    title = f"Share of the time, {SHOWN[quantization]}"
    return Table(title, ["", "us, all operators", *kinds], rows, note)


def _macs_table(found: Sequence[Decomposed]) -> Table:
    chosen = [one for one in found if one.quantization == QUANTIZATIONS[0]]
    kinds = [kind for kind in KINDS if any(kind in one.macs for one in chosen)]
    rows = [
        [
            one.name,
            f"{sum(one.macs.values()) / 1e6:.1f}",
            *(_percent(one.macs_share(kind)) for kind in kinds),
        ]
        for one in chosen
    ]
    return Table("Share of the multiply-adds", ["", "millions", *kinds], rows)


def _percent(share: float) -> str:
    return f"{share:.1%}" if share else "-"


def _verdicts(found: Sequence[Decomposed]) -> Iterator[str]:
    for quantization in QUANTIZATIONS:
        for name in NETWORKS:
            chosen = [o for o in found if (o.network, o.quantization) == (name, quantization)]
            shares = ", ".join(f"{one.share(CONVOLUTION):.0%} ({one.graph})" for one in chosen)
            macs = chosen[0].macs_share(CONVOLUTION)
            yield (
                f"{name} in {SHOWN[quantization]}: convolutions other than depthwise have "
                f"{macs:.0%} of the multiply-adds and of the time {shares}."
            )


def _plot(found: Sequence[Decomposed]) -> Figure:
    figure = Figure(figsize=(9, 1.5 + 0.45 * len(found)), layout="constrained")
    axes = figure.subplots()
    names = [f"{one.name}, {SHOWN[one.quantization]}" for one in found]
    left = np.zeros(len(found))
    for kind in KINDS:
        if not any(kind in one.microseconds for one in found):
            continue
        widths = np.array([np.median(one.microseconds.get(kind, [0.0])) for one in found])
        axes.barh(names, widths, left=left, color=COLORS[kind], label=kind)
        left += widths
    axes.invert_yaxis()
    axes.set_xlabel("microseconds of one inference")
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def _as_json(one: Decomposed) -> dict:
    return {
        "network": one.network,
        "graph": one.graph,
        "quantization": one.quantization,
        "microseconds": {kind: list(values) for kind, values in one.microseconds.items()},
        "macs": dict(one.macs),
    }
