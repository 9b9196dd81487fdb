"""Compares runtimes tensor by tensor: the same int8 network on the same images.

There are two comparisons. *End to end*, every runtime computes everything from the image, and a
different rounding in one operator affects the operators after it. *On equal inputs*, the file is
cut apart and every operator gets the results of LiteRT's reference kernels as inputs: what remains
is how that one operator rounds.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from common.cli import UserError
from common.console.progress import Progress
from common.console.table import format_table
from common.tflite.micro_runtime import MicroRuntime
from converters.conversion.tflite import convert_fake_quant
from converters.diagnosis.instrument import Instrumented, instrument
from converters.diagnosis.quantized_network import QuantizedNetwork
from converters.diagnosis.runtimes import LiteRTRuntime
from converters.diagnosis.simulation import Simulation

SIMULATION, XNNPACK, REFERENCE, MICRO = "simulation", "xnnpack", "reference", "micro"
DESCRIPTIONS = {
    SIMULATION: "fake quantization in TensorFlow, float32",
    XNNPACK: "LiteRT with XNNPACK",
    REFERENCE: "LiteRT's reference kernels",
    MICRO: "TFLite Micro's portable kernels",
}
# The kernels whose tensors are every operator's inputs in the comparison on equal inputs.
_GIVEN_BY = REFERENCE


@dataclass
class Difference:
    """How far apart two sets of int8 values are, in LSB (steps of the integers).

    Attributes:
      max_lsb: the largest absolute difference.
      exact, within_1_lsb: the shares of equal values, and of values at most 1 apart.
      values: the number of values compared.

    Examples:
      >>> Difference.between(np.int8([0, 5]), np.int8([0, 7])).max_lsb
      2
    """

    max_lsb: int = 0
    exact: float = 1.0
    within_1_lsb: float = 1.0
    values: int = 0

    @classmethod
    def between(cls, first: np.ndarray, second: np.ndarray) -> "Difference":
        """Compares two int8 arrays of the same shape."""
        distance = np.abs(first.astype(np.int16) - second)
        exact, close = float((distance == 0).mean()), float((distance <= 1).mean())
        return cls(int(distance.max()), exact, close, distance.size)

    def add(self, other: "Difference") -> None:
        """Adds the values of another difference."""
        total = self.values + other.values
        self.max_lsb = max(self.max_lsb, other.max_lsb)
        for share in ("exact", "within_1_lsb"):
            summed = getattr(self, share) * self.values + getattr(other, share) * other.values
            setattr(self, share, summed / total)
        self.values = total


@dataclass
class OperatorAgreement:
    """One operator's differences; pairs of runtimes are named "a-b".

    Attributes:
      name, operator, scale: the name, kind and scale of its output.
      end_to_end, equal_inputs: the differences by pair of runtimes.
      rounding: by runtime, on equal inputs, the largest distance to the simulation's real number
        before rounding, in LSB: 0.5 is perfect, above 1 is more than rounding.
    """

    name: str
    operator: str
    scale: float
    end_to_end: dict[str, Difference]
    equal_inputs: dict[str, Difference]
    rounding: dict[str, float]


@dataclass
class AgreementReport:
    """The results of a comparison.

    Attributes:
      network: a description of the network.
      images: the number of images.
      runtimes: by name, a runtime's description, accuracy (None: unknown) and share of images with
        the float class.
      missing: by name of a runtime that could not run, the reason.
      logits: by pair, the difference of the outputs of the unchanged file.
      argmax: by pair, the share of images with the same top class.
      operators: the operators' differences, in the order of execution.
      unchanged: whether opening up the file changed none of its outputs: with all tensors as
        outputs, every runtime returns the same logits; and the reference kernels, fed with their
        own tensors operator by operator, return them again.
    """

    network: str
    images: int
    runtimes: dict[str, dict]
    missing: dict[str, str]
    logits: dict[str, Difference]
    argmax: dict[str, float]
    operators: list[OperatorAgreement]
    unchanged: bool

    def first_beyond(self, pair: str, sense: str, lsb: int = 1) -> OperatorAgreement | None:
        """Returns the first operator that differs by more than `lsb`, or None.

        Args:
          pair: such as "xnnpack-reference".
          sense: "end_to_end" or "equal_inputs".
          lsb: the largest difference that is allowed.
        """
        return next((o for o in self.operators if getattr(o, sense)[pair].max_lsb > lsb), None)

    def as_json(self) -> dict:
        """Returns the report as JSON values, including the first operators that differ."""
        senses = ("end_to_end", "equal_inputs")
        first = {
            sense: {pair: _name(self.first_beyond(pair, sense)) for pair in self.logits}
            for sense in senses
        }
        return {**asdict(self), "first_beyond_1_lsb": first}


def pair_names(runtimes: Mapping | list[str]) -> dict[str, tuple[str, str]]:
    """Returns the pairs of runtimes by the pair's name."""
    return {f"{a}-{b}": (a, b) for a, b in itertools.combinations(runtimes, 2)}


def measure(network: QuantizedNetwork) -> AgreementReport:
    """Converts the network to int8 and runs its images through all runtimes.

    Raises:
      UserError: the network cannot be converted, or LiteRT cannot run it.
    """
    parts = instrument(convert_fake_quant(network.model), network.graph)
    return _Comparison(parts, Simulation(network.graph, network.model)).run(network)


class _Comparison:
    """One .tflite file in all runtimes, and the results so far."""

    def __init__(self, parts: Instrumented, simulation: Simulation):
        self.parts = parts
        self.simulation = simulation
        self.missing: dict[str, str] = {}
        self.plain = self._runtimes(parts.plain, 1)
        self.tapped = self._runtimes(parts.tapped, len(parts.tensors))
        self.apart = self._runtimes(parts.apart, len(parts.tensors))
        names = [SIMULATION, *self.plain]
        self.pairs = pair_names(names)
        self.outputs: dict[str, list[np.ndarray]] = {name: [] for name in names}
        self.unchanged = True
        self.operators = []
        for tensor in parts.tensors:
            whole, alone = ({pair: Difference() for pair in self.pairs} for _ in range(2))
            rounding = dict.fromkeys(names, 0.0)
            self.operators.append(
                OperatorAgreement(
                    tensor.name, tensor.operator, tensor.scale, whole, alone, rounding
                )
            )

    def _runtimes(self, content: bytes, outputs: int) -> dict:
        runtimes = {
            XNNPACK: LiteRTRuntime(content, "AUTO"),
            REFERENCE: LiteRTRuntime(content, "BUILTIN_REF"),
        }
        if MICRO not in self.missing:
            try:
                runtimes[MICRO] = MicroRuntime(content, outputs)
            except UserError as error:
                self.missing[MICRO] = str(error)
        return runtimes

    def run(self, network: QuantizedNetwork) -> AgreementReport:
        with Progress("comparing", len(network.inputs)) as progress:
            for done, image in enumerate(network.inputs, 1):
                # The application quantizes the image, so all runtimes get the same integers.
                self._compare(self.parts.image.quantize(image[np.newaxis]))
                progress.update(done)
        outputs = {name: np.stack(rows) for name, rows in self.outputs.items()}
        classes = {name: rows.argmax(axis=-1) for name, rows in outputs.items()}
        float_classes = network.float_logits.argmax(axis=-1)
        return AgreementReport(
            network=network.description,
            images=len(network.inputs),
            runtimes={
                name: {
                    "description": DESCRIPTIONS[name],
                    "accuracy": _accuracy(classes[name], network.labels),
                    "same_class_as_float": float((classes[name] == float_classes).mean()),
                }
                for name in outputs
            },
            missing=self.missing,
            logits={
                pair: Difference.between(outputs[a], outputs[b])
                for pair, (a, b) in self.pairs.items()
            },
            argmax={
                pair: float((classes[a] == classes[b]).mean())
                for pair, (a, b) in self.pairs.items()
            },
            operators=self.operators,
            unchanged=self.unchanged,
        )

    def _compare(self, image: np.ndarray) -> None:
        whole = {name: runtime.run([image]) for name, runtime in self.tapped.items()}
        whole[SIMULATION] = self._simulate(image)[1]
        given = whole[_GIVEN_BY]
        apart = {name: runtime.run([image, *given]) for name, runtime in self.apart.items()}
        exact, apart[SIMULATION] = self._simulate(image, given)
        for index, operator in enumerate(self.operators):
            for pair, (a, b) in self.pairs.items():
                for total, values in (
                    (operator.end_to_end[pair], whole),
                    (operator.equal_inputs[pair], apart),
                ):
                    total.add(Difference.between(values[a][index], values[b][index]))
            for name, values in apart.items():
                distance = float(np.abs(values[index] - exact[index]).max())
                operator.rounding[name] = max(operator.rounding[name], distance)
        self._collect_outputs(image, whole, apart)

    def _collect_outputs(self, image: np.ndarray, whole: dict, apart: dict) -> None:
        for name, runtime in self.plain.items():
            output = runtime.run([image])[0]
            self.unchanged &= np.array_equal(output, whole[name][-1])
            self.outputs[name].append(output[0])
        self.outputs[SIMULATION].append(whole[SIMULATION][-1][0])
        for again, before in zip(apart[_GIVEN_BY], whole[_GIVEN_BY], strict=True):
            self.unchanged &= np.array_equal(again, before)

    def _simulate(
        self, image: np.ndarray, given: Sequence[np.ndarray] = ()
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the simulation's tensors in LSB: not rounded, and as int8.

        Args:
          image: int8.
          given: int8 tensors that the operators get as inputs; if there are none, each other's.
        """
        tensors = self.parts.tensors
        pairs = [(self.parts.image, image), *zip(tensors, given, strict=True)] if given else []
        inputs = {tensor.name: tensor.dequantize(integers) for tensor, integers in pairs}
        exact, rounded = self.simulation.run(self.parts.image.dequantize(image), given=inputs)
        return (
            [tensor.position(exact[tensor.name]) for tensor in tensors],
            [tensor.quantize(rounded[tensor.name]) for tensor in tensors],
        )


def summary(report: AgreementReport) -> str:
    """Returns the text for the terminal: the pairs, the runtimes and a conclusion."""
    return "\n\n".join(
        (
            f"{report.network}; {report.images} images, {len(report.operators)} operators",
            _runtime_table(report),
            _logit_table(report),
            _equal_inputs_table(report),
            _kind_table(report),
            _conclusion(report),
        )
    )


def operator_table(report: AgreementReport) -> str:
    """Returns one line for each operator: the largest differences in both comparisons."""
    header = ["operator", "kind"]
    for sense in ("whole", "alone"):
        header += [f"{sense} {pair}" for pair in report.logits]
    rows = [header + [f"rounding {name}" for name in report.runtimes]]
    for o in report.operators:
        cells = [str(d.max_lsb) for d in (*o.end_to_end.values(), *o.equal_inputs.values())]
        rounding = [f"{distance:.2f}" for distance in o.rounding.values()]
        rows.append([o.name, o.operator, *cells, *rounding])
    return format_table(rows[0], rows[1:], left_columns=2)


def _runtime_table(report: AgreementReport) -> str:
    rows = [["runtime", "what", "accuracy", "class of the float model"]]
    for name, runtime in report.runtimes.items():
        shares = (runtime["accuracy"], runtime["same_class_as_float"])
        rows.append([name, runtime["description"], *map(_percent, shares)])
    return format_table(rows[0], rows[1:], left_columns=2)


def _logit_table(report: AgreementReport) -> str:
    rows = [
        ["logits, end to end", "max LSB", "exact", "<=1 LSB", "same class", "first beyond 1 LSB"]
    ]
    for pair, difference in report.logits.items():
        shares = (difference.exact, difference.within_1_lsb, report.argmax[pair])
        first = _name(report.first_beyond(pair, "end_to_end")) or "none"
        rows.append([pair, str(difference.max_lsb), *map(_percent, shares), first])
    return format_table(rows[0], rows[1:], left_columns=1)


def _equal_inputs_table(report: AgreementReport) -> str:
    rows = [["each operator on equal inputs", "max LSB", "exact", "first beyond 1 LSB"]]
    for pair in report.logits:
        total = _sum(operator.equal_inputs[pair] for operator in report.operators)
        first = _name(report.first_beyond(pair, "equal_inputs")) or "none"
        rows.append([pair, str(total.max_lsb), _percent(total.exact), first])
    return format_table(rows[0], rows[1:], left_columns=1)


def _kind_table(report: AgreementReport) -> str:
    """Returns how each kind of operator rounds: all operators of a kind share one kernel."""
    pair = f"{XNNPACK}-{REFERENCE}"
    farthest = [f"{name} from exact" for name in report.runtimes]
    rows = [["kind, on equal inputs", "operators", f"{pair} exact", *farthest]]
    for kind in dict.fromkeys(operator.operator for operator in report.operators):
        alike = [operator for operator in report.operators if operator.operator == kind]
        exact = _sum(operator.equal_inputs[pair] for operator in alike).exact
        distances = [max(o.rounding[name] for o in alike) for name in report.runtimes]
        rows.append([kind, str(len(alike)), _percent(exact), *(f"{d:.2f}" for d in distances)])
    return format_table(rows[0], rows[1:], left_columns=1)


def _sum(differences: Iterable[Difference]) -> Difference:
    total = Difference()
    for difference in differences:
        total.add(difference)
    return total


def _accuracy(classes: np.ndarray, labels: np.ndarray | None) -> float | None:
    return None if labels is None else float((classes == labels).mean())


def _percent(share: float | None) -> str:
    """Formats a share, rounded down, so that 100% means all."""
    if share is None:
        return "unknown"
    return f"{math.floor(share * 1e4) / 1e2:.2f}%"


def _conclusion(report: AgreementReport) -> str:
    lines = [f"{name} is skipped: {reason}" for name, reason in report.missing.items()]
    if not report.unchanged:
        lines.append("Opening up the file changed its outputs: the lines on operators may mislead.")
    beyond = [pair for pair in report.logits if report.first_beyond(pair, "equal_inputs")]
    if beyond:
        lines.append(f"On equal inputs an operator differs by more than 1 LSB: {', '.join(beyond)}")
    else:
        lines.append(
            "On equal inputs no operator differs by more than 1 LSB. Larger differences end to end "
            "are this rounding, carried from layer to layer."
        )
    return "\n".join(lines)


def _name(operator: OperatorAgreement | None) -> str | None:
    return None if operator is None else operator.name
