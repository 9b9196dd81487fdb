"""Predicts, without the compiler, which operators of a .tflite file an Edge TPU runs.

The rules come from documentation and public reports (converters/edgetpu_target/operators.py).
"""

import collections
import os
from collections.abc import Iterable
from dataclasses import dataclass

from common.tflite.operators import Contents, Operator, Tensor, damage_reported, read_operators
from converters.edgetpu_target.log import ModelLog
from converters.edgetpu_target.operators import ON_CHIP_BYTES, OPERATORS
from converters.edgetpu_target.parameters import parameter_bytes

_IMAGE_DIMENSIONS = 3
_TYPES = ("int8", "uint8")
# Biases, axes and sizes are int32; the compiler only accepts them as constants.
_CONSTANT_TYPES = (*_TYPES, "int32")
# Further types of single operators: an LSTM's state.
_MORE_TYPES = {"UNIDIRECTIONAL_SEQUENCE_LSTM": ("int16",)}
_STRANDED = "an operator before it does not map, and a file has one Edge TPU part"
_REFUSED = "the compiler rejects the whole file because of another operator's version"


@dataclass(frozen=True)
class Predicted:
    """The prediction for one operator.

    Attributes:
      name, version: the operator's name and version.
      reason: why it runs on the CPU; None if it maps.
      doubt: why it may stay unmapped nevertheless; None without a known doubt.
    """

    name: str
    version: int
    reason: str | None
    doubt: str | None = None


@dataclass(frozen=True)
class Prediction:
    """The prediction for a file.

    Attributes:
      operators: the operators' predictions, in the file's order.
      refused: why the compiler rejects the whole file; None if it does not.
      weight_bytes: bytes of weights, biases and other constants in the file.
      parameter_bytes: the estimated bytes that those of the mapped operators take on the chip.
    """

    operators: tuple[Predicted, ...]
    refused: str | None
    weight_bytes: int
    parameter_bytes: int

    @property
    def mapped(self) -> int:
        """The number of operators that map if no doubt comes true."""
        return sum(operator.reason is None for operator in self.operators)

    @property
    def certain(self) -> int:
        """The number of operators that map even if every doubt comes true."""
        reasons = [operator.reason or operator.doubt for operator in self.operators]
        return sum(reason is None for reason in _strand(reasons))

    @property
    def streamed_bytes(self) -> int:
        """Bytes of weights that do not fit on the chip and are sent at every inference."""
        return max(0, self.parameter_bytes - ON_CHIP_BYTES)

    def as_json(self) -> dict:
        """Returns the manifest's field (docs/artifact.md)."""
        return {
            "operators": len(self.operators),
            "mapped": self.mapped,
            "certain": self.certain,
            "refused": self.refused,
            "unmapped": self._grouped("reason"),
            "doubtful": self._grouped("doubt"),
            "weight_bytes": self.weight_bytes,
            "parameter_bytes": self.parameter_bytes,
            "streamed_bytes": self.streamed_bytes,
        }

    def _grouped(self, why: str) -> list[dict]:
        found = collections.Counter(
            (operator.name, operator.version, getattr(operator, why))
            for operator in self.operators
            if getattr(operator, why) is not None
        )
        return [
            {"name": name, "version": version, "count": count, "reason": reason}
            for (name, version, reason), count in found.items()
        ]


def predict(path: str | os.PathLike) -> Prediction:
    """Checks the operators of a .tflite file against the documentation.

    Args:
      path: the file before the Edge TPU compiler's run.

    Raises:
      UserError: the file is missing, damaged or not a .tflite model.

    Examples:
      >>> predict("deployment_int8_ptq.tflite").mapped
      140
    """
    contents = read_operators(path)
    with damage_reported(path):
        return _predict(contents)


def _predict(contents: Contents) -> Prediction:
    operators = contents.operators
    refused = next(filter(None, map(_refusal, operators)), None)
    reasons = [_reason(operator) for operator in operators]
    if refused is None:
        reasons = _strand(reasons, start=_leading_conversions(operators))
    else:
        reasons = [
            _refusal(operator) or reason or _REFUSED
            for operator, reason in zip(operators, reasons, strict=True)
        ]
    return Prediction(
        operators=tuple(
            Predicted(operator.name, operator.version, reason, _doubt(operator, reason))
            for operator, reason in zip(operators, reasons, strict=True)
        ),
        refused=refused,
        weight_bytes=contents.constant_bytes,
        parameter_bytes=sum(
            parameter_bytes(operator)
            for operator, reason in zip(operators, reasons, strict=True)
            if reason is None
        ),
    )


def differences(prediction: Prediction, log: ModelLog) -> list[str]:
    """Compares a prediction with what the compiler did.

    Returns:
      A line for each kind of operator of which the compiler mapped a different number.

    Examples:
      >>> differences(predict(path), parse_output(text).models[0])
      ['TRANSPOSE: 2 of 3 predicted to map, the compiler mapped 0']
    """
    predicted = _mapped((entry.name, 1, entry.reason is None) for entry in prediction.operators)
    found = _mapped((entry.name, entry.count, entry.mapped) for entry in log.operators)
    return [
        f"{name}: {predicted[name][0]} of {predicted[name][1]} predicted to map, "
        f"the compiler mapped {found[name][0]} of {found[name][1]}"
        for name in sorted({*predicted, *found})
        if predicted[name] != found[name]
    ]


def _mapped(entries: Iterable[tuple[str, int, bool]]) -> dict[str, tuple[int, int]]:
    """Returns, by name, how many map and how many there are."""
    counts: dict[str, tuple[int, int]] = collections.defaultdict(lambda: (0, 0))
    for name, count, maps in entries:
        mapped, total = counts[name]
        counts[name] = (mapped + (count if maps else 0), total + count)
    return counts


def _strand(reasons: list[str | None], start: int = 0) -> list[str | None]:
    """Returns the reasons; after an unmapped operator from `start` on, the others are stranded."""
    stranded = list(reasons)
    for index in range(start, len(reasons)):
        if reasons[index] is not None:
            later = reasons[index + 1 :]
            return [*stranded[: index + 1], *[reason or _STRANDED for reason in later]]
    return stranded


def _leading_conversions(operators: tuple[Operator, ...]) -> int:
    """Returns how many operators only convert the input; on the CPU, they strand no others."""
    for index, operator in enumerate(operators):
        quantizes = operator.name == "QUANTIZE" and operator.inputs[0].dtype == "float32"
        if not quantizes and operator.name != "CAST":
            return index
    return len(operators)


def _refusal(operator: Operator) -> str | None:
    limits = OPERATORS.get(operator.name)
    if limits is None or operator.version <= limits.version:
        return None
    return (
        f"{operator.name} has version {operator.version}, but compiler 16 reads at most "
        f"{limits.version} and rejects a file with a newer one"
    )


def _doubt(operator: Operator, reason: str | None) -> str | None:
    return OPERATORS[operator.name].doubt if reason is None else None


def _reason(operator: Operator) -> str | None:
    """Returns why an operator does not map by itself, or None."""
    limits = OPERATORS.get(operator.name)
    if limits is None:
        return "it is not among the documented operators"
    # Types and shapes first: the rules rely on them.
    types = (*_TYPES, *_MORE_TYPES.get(operator.name, ()))
    reasons = (_tensor_reason(tensor, types) for tensor in operator.tensors)
    general = next(filter(None, reasons), None)
    return general or next(filter(None, (rule(operator) for rule in limits.rules)), None)


def _tensor_reason(tensor: Tensor, types: tuple[str, ...]) -> str | None:
    if not tensor.fixed:
        return "a tensor's size is not constant"
    constant = tensor.values is not None
    if tensor.dtype not in (_CONSTANT_TYPES if constant else types):
        return f"it works on {tensor.dtype}, not on int8"
    if constant:
        return None
    if not tensor.scales:
        return f"a tensor of {tensor.dtype} is not quantized"
    if any(size != 1 for size in tensor.shape[:-_IMAGE_DIMENSIONS]):
        shape = "x".join(map(str, tensor.shape))
        return f"a tensor of {shape} has more than {_IMAGE_DIMENSIONS} dimensions or a batch"
    return None
