"""A detector's scores in the form that the training loop records."""

import dataclasses

from common.detection.average_precision import AveragePrecision


@dataclasses.dataclass(frozen=True)
class DetectionScores:
    """How well a detector does on a split.

    Attributes:
      precision: average precision, as a whole and by size and class.
      images: how many images were counted.
    """

    precision: AveragePrecision
    images: int

    @property
    def summary(self) -> str:
        """The scores in words."""
        shown = {"AP": self.precision.ap, "AP50": self.precision.ap50}
        return ", ".join(f"{name} {value or 0:.2%}" for name, value in shown.items())

    @property
    def details(self) -> str:
        """The scores in words, with those of one threshold and of small to large boxes."""
        names = {"ap": "AP", "ap50": "AP50", "ap75": "AP75"}
        names |= {name: name for name in ("small", "medium", "large")}
        values = ((word, getattr(self.precision, name)) for name, word in names.items())
        return ", ".join(
            f"{word} {'-' if value is None else format(value, '.2%')}" for word, value in values
        )

    @property
    def best(self) -> float:
        """The number by which the best weights are chosen: AP."""
        return self.precision.ap or 0.0

    def record(self) -> dict[str, float | None]:
        """Returns the scores by their names in metrics.jsonl; None: there is no such box."""
        names = ("ap", "ap50", "ap75", "small", "medium", "large")
        values = {name: getattr(self.precision, name) for name in names}
        return {name if name.startswith("ap") else f"ap_{name}": v for name, v in values.items()}

    def scalars(self) -> dict[str, float]:
        """Returns the scores by their names in TensorBoard."""
        return {name: value for name, value in self.record().items() if value is not None}
