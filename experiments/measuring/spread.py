"""Medians of passes with their spread, and what can be said with it."""

from dataclasses import dataclass

import numpy as np

# Less than this is no difference, whoever measured it: a share of the time.
DIFFERENCE = 0.05


@dataclass(frozen=True)
class Spread:
    """The median of several passes, the least and the largest of them, and their quartiles."""

    median: float
    low: float
    high: float
    quartiles: tuple[float, float]

    @classmethod
    def of(cls, values: np.ndarray) -> "Spread":
        """Summarizes the passes; NaN in one of them is NaN in all.

        Args:
          values: one a pass, such as milliseconds or ratios within a pass.
        """
        low, first, median, third, high = map(float, np.percentile(values, (0, 25, 50, 75, 100)))
        return cls(median, low, high, (first, third))

    def text(self, digits: int = 2, unit: str = "") -> str:
        """Returns "1.43x (1.40-1.47)", or "-" where nothing was measured."""
        if np.isnan(self.median):
            return "-"
        return f"{self.median:.{digits}f}{unit} ({self.low:.{digits}f}-{self.high:.{digits}f})"

    def as_json(self) -> dict[str, float | None]:
        """Returns median, low and high; None where nothing was measured."""
        numbers = {"median": self.median, "low": self.low, "high": self.high}
        return {name: None if np.isnan(value) else value for name, value in numbers.items()}

    def exceeds(self, bound: float) -> bool | None:
        """Says whether a repetition would give more than `bound`; None: it might or might not.

        Three quarters of the passes must be on one side, and the median farther from the bound
        than the middle half of the passes is wide. One pass that was disturbed does not count.

        Examples:
          >>> Spread.of(np.array([1.25, 1.30, 1.31])).exceeds(1.05)
          True
        """
        first, third = self.quartiles
        if first > bound and self.median - bound > third - first:
            return True
        return False if third < bound and bound - self.median > third - first else None
