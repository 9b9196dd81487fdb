"""Measures where int8 loses accuracy: signal-to-noise ratios in decibels, part by part.

6 dB are one bit. A part is an operator's weights or a tensor that is rounded. For each part: how
precise it is by itself, how much noise it adds to the network's output when only this part is
quantized, and how much noise has reached it when everything is quantized.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import numpy as np

from common import files
from common.console.progress import Progress
from common.console.table import format_table
from converters.diagnosis.quantized_network import QuantizedNetwork
from converters.diagnosis.simulation import Simulation

matplotlib.use("Agg")
from matplotlib import pyplot as plt

WEIGHTS, ACTIVATIONS = "weights", "activations"
BATCH = 16
# One kind dominates if its noise has at least twice the other's power.
_DOMINATES_DB = 3.0
# A part stands out if it adds at least this share of the noise.
_STANDS_OUT = 0.15
_MAX_BARS, _MAX_TICKS = 25, 60
_COLORS = {WEIGHTS: "tab:orange", ACTIVATIONS: "tab:blue"}


class SignalToNoise:
    """A signal-to-noise ratio over several arrays.

    Examples:
      >>> ratio = SignalToNoise()
      >>> ratio.add(np.array([3.0, 4.0]), np.array([3.0, 4.5]))
      >>> round(ratio.decibels, 9)
      20.0
    """

    def __init__(self):
        self.signal = 0.0
        self.noise = 0.0

    def add(self, clean: np.ndarray, noisy: np.ndarray) -> None:
        """Adds an array and its noisy copy."""
        self.signal += float(np.square(clean, dtype=np.float64).sum())
        self.noise += float(np.square(np.subtract(noisy, clean, dtype=np.float64)).sum())

    @property
    def decibels(self) -> float | None:
        """10 log10(signal power / noise power); None if there is no noise or no signal."""
        if not self.signal or not self.noise:
            return None
        return 10 * float(np.log10(self.signal / self.noise))


@dataclass(frozen=True)
class Part:
    """One operator's weights, or one tensor, that int8 rounds; ratios in dB, None without noise.

    Attributes:
      kind: "weights" or "activations".
      name: the operator's name.
      range_name: the name of the shared range, for activations.
      range: (minimum, maximum) of the shared range, for activations.
      own_db: the ratio of the part by itself, rounded, with nothing before it quantized.
      alone_db: the ratio of the network's output with only this part quantized.
      end_to_end_db: the ratio of the operator's output with everything quantized.
      noise_share: the part's share of the noise power at the output, summed over all parts.
    """

    kind: str
    name: str
    range_name: str | None
    range: tuple[float, float] | None
    own_db: float | None
    alone_db: float | None
    end_to_end_db: float | None
    noise_share: float


@dataclass(frozen=True)
class LayerErrorReport:
    """How much accuracy int8 costs, and where.

    Attributes:
      network: a description of the network.
      images: the number of images.
      output_db: the ratio of the network's output with everything, only the weights or only the
        activations quantized, by "all", "weights", "activations".
      same_class: the share of images with the same class as without quantization.
      parts: the parts, worst first: those that add most noise to the output.
    """

    network: str
    images: int
    output_db: dict[str, float | None]
    same_class: float
    parts: list[Part]

    def as_json(self) -> dict:
        """Returns the report as JSON values, including the advice."""
        return {**asdict(self), "advice": advice(self)}


def measure(network: QuantizedNetwork) -> LayerErrorReport:
    """Quantizes the network part by part and compares it with the network without quantization.

    Args:
      network: as `converters.diagnosis.quantized_network.load_quantized` returns it.
    """
    simulation = Simulation(network.graph, network.model)
    measured = _Measurement(simulation, network.inputs)
    keys = [(WEIGHTS, name) for name in simulation.weights]
    keys += [(ACTIVATIONS, name) for name in simulation.activations]
    alone = measured.each_alone(keys)
    own, end_to_end = measured.tensors()
    total_noise = sum(ratio.noise for ratio in alone.values()) or 1.0
    parts = [
        Part(
            kind=kind,
            name=name,
            range_name=(range_name := None if kind == WEIGHTS else simulation.range_names[name]),
            range=simulation.ranges.get(range_name),
            own_db=own[kind, name].decibels,
            alone_db=alone[kind, name].decibels,
            end_to_end_db=end_to_end[name].decibels,
            noise_share=alone[kind, name].noise / total_noise,
        )
        for kind, name in keys
    ]
    return LayerErrorReport(
        network=network.description,
        images=len(network.inputs),
        output_db={
            "all": measured.at_output(simulation.weights, simulation.activations).decibels,
            WEIGHTS: measured.at_output(weights=simulation.weights).decibels,
            ACTIVATIONS: measured.at_output(activations=simulation.activations).decibels,
        },
        same_class=measured.same_class(),
        parts=sorted(parts, key=lambda part: -part.noise_share),
    )


class _Measurement:
    """Compares the network with some parts quantized to the network with none quantized."""

    def __init__(self, simulation: Simulation, inputs: np.ndarray):
        self.simulation = simulation
        self.batches = [inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH)]
        self.clean = [simulation.output(batch, (), ()) for batch in self.batches]

    def at_output(
        self, weights: Sequence[str] = (), activations: Sequence[str] = ()
    ) -> SignalToNoise:
        ratio = SignalToNoise()
        for batch, clean in zip(self.batches, self.clean, strict=True):
            ratio.add(clean, self.simulation.output(batch, weights, activations))
        return ratio

    def each_alone(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], SignalToNoise]:
        """Returns the output's ratio with only one (kind, name) quantized, for each."""
        ratios = {}
        with Progress("quantizing alone", len(keys), unit="part") as progress:
            for kind, name in keys:
                ratios[kind, name] = self.at_output(**{kind: [name]})
                progress.update(len(ratios))
        return ratios

    def same_class(self) -> float:
        clean = np.concatenate(self.clean).argmax(axis=-1)
        noisy = np.concatenate([self.simulation.output(batch) for batch in self.batches])
        return float((clean == noisy.argmax(axis=-1)).mean())

    def tensors(self) -> tuple[dict[tuple[str, str], SignalToNoise], dict[str, SignalToNoise]]:
        """Returns the ratios of parts by themselves, and of tensors with everything quantized."""
        simulation = self.simulation
        own = {(ACTIVATIONS, name): SignalToNoise() for name in simulation.activations}
        end_to_end = {name: SignalToNoise() for name in simulation.graph.ops}
        for name in simulation.weights:
            own[WEIGHTS, name] = SignalToNoise()
            own[WEIGHTS, name].add(*simulation.weight_signal(name))
        for batch in self.batches:
            _, clean = simulation.run(batch, (), ())
            for name, noisy in simulation.run(batch)[1].items():
                end_to_end[name].add(clean[name], noisy)
            for name in simulation.activations:
                own[ACTIVATIONS, name].add(clean[name], simulation.round(name, clean[name]))
        return own, end_to_end


def table(report: LayerErrorReport, limit: int | None = None) -> str:
    """Returns the parts as aligned text, worst first; at most `limit` parts, or all."""
    rows = [["part", "of", "range", "own dB", "alone dB", "end to end dB", "share of noise"]]
    for part in report.parts[:limit]:
        limits = "" if part.range is None else f"{part.range[0]:.3g} … {part.range[1]:.3g}"
        ratios = (part.own_db, part.alone_db, part.end_to_end_db)
        share = f"{part.noise_share:.1%}"
        rows.append([part.kind, part.name, limits, *map(_decibels, ratios), share])
    return format_table(rows[0], rows[1:], left_columns=3)


def summary(report: LayerErrorReport, limit: int = 15) -> str:
    """Returns the text for the terminal: the worst parts, the totals and advice."""
    return "\n\n".join(
        (
            f"{report.network}; {report.images} images, {len(report.parts)} parts, worst first",
            table(report, limit),
            "own: the part rounded by itself; alone: the output with only this part quantized; "
            "end to end: the operator's output with everything quantized.",
            advice(report),
        )
    )


def advice(report: LayerErrorReport) -> str:
    """Returns what dominates the noise, which layer is worst, and what to try."""
    decibels = report.output_db
    totals = (
        f"At the output: {_decibels(decibels['all'])} dB with everything quantized, "
        f"{_decibels(decibels[WEIGHTS])} dB with only the weights, "
        f"{_decibels(decibels[ACTIVATIONS])} dB with only the activations; "
        f"{report.same_class:.1%} of the images keep their class."
    )
    worst = report.parts[0]
    if not worst.noise_share:
        return f"{totals} Quantization changes nothing."
    where = f"the {worst.kind} of {worst.name}, {worst.noise_share:.1%} of the noise"
    if worst.range_name not in (None, worst.name):
        where += f" (range shared with {worst.range_name})"
    if worst.noise_share < _STANDS_OUT:
        return (
            f"{totals} {_dominating(decibels)}; no part stands out; the worst are {where}. "
            "If accuracy is too low, train with quantization (shufflenet quantize)."
        )
    return f"{totals} {_dominating(decibels)}; the worst are {where}. {_remedy(worst)}"


def _dominating(decibels: dict[str, float | None]) -> str:
    weights, activations = (
        np.inf if decibels[kind] is None else decibels[kind] for kind in (WEIGHTS, ACTIVATIONS)
    )
    if abs(weights - activations) < _DOMINATES_DB:
        return "Weights and activations matter equally"
    return "The weights dominate" if weights < activations else "The activations dominate"


def _remedy(worst: Part) -> str:
    if worst.kind == WEIGHTS:
        return (
            "Their ranges always follow the weights: train with quantization (shufflenet quantize)."
        )
    return (
        "Try another --ranges (a range far wider than its values wastes bits, one that is too "
        "narrow clips), or train with quantization (shufflenet quantize)."
    )


def save_picture(report: LayerErrorReport, order: Sequence[str], path: str | Path) -> None:
    """Draws the tensors' ratios in the order of execution, and the worst parts, into a PNG.

    Args:
      report: what to draw.
      order: names of the operators in the order of execution.
      path: the PNG file.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(16, 8), layout="constrained")
    for kind, color in _COLORS.items():
        by_name = {part.name: part for part in report.parts if part.kind == kind}
        drawn = [name for name in order if name in by_name]
        places = [order.index(name) for name in drawn]
        left.plot(places, [by_name[n].own_db for n in drawn], ".", color=color, label=f"{kind}")
        if kind == ACTIVATIONS:
            ratios = [by_name[name].end_to_end_db for name in drawn]
            left.plot(places, ratios, color="k", label="everything quantized")
            step = -(-len(drawn) // _MAX_TICKS)
            left.set_xticks(places[::step], drawn[::step], rotation=90, fontsize=6)
    left.set(ylabel="signal to noise, dB", title="Each part by itself, and the tensors end to end")
    left.legend()
    worst = report.parts[:_MAX_BARS]
    colors = [_COLORS[part.kind] for part in worst]
    right.barh(range(len(worst)), [100 * part.noise_share for part in worst], color=colors)
    names = [f"{part.name} ({part.kind})" for part in worst]
    right.set_yticks(range(len(worst)), names, fontsize=7)
    right.invert_yaxis()
    right.set(xlabel="% of the noise at the output", title="Worst parts")
    try:
        with files.atomic_write(path) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
    finally:
        plt.close(figure)


def _decibels(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"
