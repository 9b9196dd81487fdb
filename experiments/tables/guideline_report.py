"""Tables, verdicts and a picture of what was measured for V2's guidelines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from edge.running.measurement import interval, spread
from experiments.harness.experiment import Table
from experiments.measuring.latencies import SHOWN
from experiments.networks.guideline_blocks import GUIDELINES, MULTIPLES, Claim, Guideline

# A share of the time: a smaller difference does not count.
DIFFERENCE = 0.05
_PAPERS = {"GPU": "paper, GTX 1080Ti", "CPU": "paper, Snapdragon 810"}
_WORDS = {True: "holds", False: "does not", None: "undecided"}


@dataclass(frozen=True)
class Setting:
    """One way to measure a guideline's rows, which run in interleaved rounds."""

    guideline: str
    column: str
    multiple: int
    quantization: str
    batch: int

    @property
    def kind(self) -> str:
        """How the rows are run, without their widths."""
        return f"{SHOWN[self.quantization]}, batch {self.batch}"

    @property
    def group(self) -> str:
        """The networks that it measures, in words."""
        return f"{self.guideline}, {self.column} widths x{self.multiple}, batch {self.batch}"


@dataclass(frozen=True)
class Measured:
    """The measured rows of a setting.

    Attributes:
      setting: how they were run.
      milliseconds: of one inference, by row, [passes].
      macs: of one image, by row.
    """

    setting: Setting
    milliseconds: Mapping[str, np.ndarray]
    macs: Mapping[str, int]

    def slower(self, slow: str, fast: str) -> np.ndarray:
        """Returns the ratio of `slow`'s time per multiply-add to `fast`'s, by pass, [passes]."""
        costs = (self.milliseconds[label] / self.macs[label] for label in (slow, fast))
        return np.divide(*costs)


def exceeds(ratios: np.ndarray, bound: float) -> bool | None:
    """Returns whether a repetition would give more than `bound`; None: undecided.

    Three quarters of the passes must be on one side of the bound, and the distance of the median
    from it must exceed the range of the middle half of the passes. A single disturbed pass does
    not count.

    Examples:
      >>> exceeds(np.array([1.25, 1.30, 1.31]), 1.05)
      True
    """
    first, median, third = np.percentile(ratios, (25, 50, 75))
    if first > bound and median - bound > third - first:
        return True
    return False if third < bound and bound - median > third - first else None


def _by_widths(
    measured: Sequence[Measured], guideline: str
) -> dict[tuple[str, int], list[Measured]]:
    found: dict[tuple[str, int], list[Measured]] = {}
    for one in measured:
        if one.setting.guideline == guideline:
            found.setdefault((one.setting.column, one.setting.multiple), []).append(one)
    return found


def verdict_table(guidelines: Sequence[Guideline], measured: Sequence[Measured]) -> Table:
    """Returns a row for each claim and set of widths: the paper's ratio and those measured here."""
    kinds = dict.fromkeys(one.setting.kind for one in measured)
    rows = [
        _verdict_row(guideline, claim, *widths, found)
        for guideline in guidelines
        for claim in guideline.claims
        for widths, found in _by_widths(measured, guideline.name).items()
    ]
    note = (
        "Times as long for each multiply-add: median of the passes (p10-p90). A claim "
        f"**holds** where a repetition would again find more than {DIFFERENCE:.0%}: three quarters "
        "of the passes are above that, and the median by more than the middle half of them is "
        "wide. It **does not** where they are as far below."
    )
    return Table("Do the guidelines hold here?", ["", "widths", "paper", *kinds], rows, note)


def _verdict_row(
    guideline: Guideline, claim: Claim, column: str, multiple: int, found: Sequence[Measured]
) -> list[str]:
    fast, slow = (guideline.variant(label).speeds for label in (claim.fast, claim.slow))
    index = MULTIPLES.index(multiple)
    paper = [f"{fast[c][index] / slow[c][index]:.2f}x" for c in _papers_columns(guideline, column)]
    here = [one.slower(claim.slow, claim.fast) for one in found]
    return [
        f"{guideline.name}: {claim.text}",
        f"{column} x{multiple}" if len(guideline.columns) > 1 else f"x{multiple}",
        ", ".join(paper),
        *(
            f"{interval(spread(ratios), 2, unit='x')} {_WORDS[exceeds(ratios, 1 + DIFFERENCE)]}"
            for ratios in here
        ),
    ]


def _papers_columns(guideline: Guideline, column: str) -> tuple[str, ...]:
    """Returns which of the paper's columns to show for these widths: both if they are the same."""
    return (column,) if len(guideline.columns) > 1 else tuple(_PAPERS)


def detail_tables(guidelines: Sequence[Guideline], measured: Sequence[Measured]) -> Iterator[Table]:
    """Yields the paper's tables with the times measured here."""
    for guideline in guidelines:
        for (column, multiple), found in _by_widths(measured, guideline.name).items():
            title = f"{guideline.name}, {guideline.table}: widths of the {column}, x{multiple}"
            columns = _papers_columns(guideline, column)
            headers = ["", "million multiply-adds", *(f"{_PAPERS[one]}, /s" for one in columns)]
            headers += [f"{one.setting.kind}, ms" for one in found]
            index = MULTIPLES.index(multiple)
            rows = [
                [
                    variant.label,
                    f"{found[0].macs[variant.label] / 1e6:.1f}",
                    *(f"{variant.speeds[one][index]:g}" for one in columns),
                    *(interval(spread(one.milliseconds[variant.label])) for one in found),
                ]
                for variant in guideline.variants
            ]
            yield Table(title, headers, rows, guideline.note)


def verdict(guideline: Guideline, measured: Sequence[Measured]) -> str:
    """Returns a sentence that says in how many settings a guideline's claims hold."""
    found = [one for one in measured if one.setting.guideline == guideline.name]
    parts = []
    for claim in guideline.claims:
        ratios = [one.slower(claim.slow, claim.fast) for one in found]
        outcomes = [exceeds(ratio, 1 + DIFFERENCE) for ratio in ratios]
        medians = [spread(ratio)["median"] for ratio in ratios]
        counts = ", ".join(
            f"{_WORDS[outcome]} in {outcomes.count(outcome)}"
            for outcome in _WORDS
            if outcome in outcomes
        )
        parts.append(
            f"{claim.text}: {counts} of {len(found)} settings "
            f"({min(medians):.2f}x to {max(medians):.2f}x)"
        )
    return f"**{guideline.name}**, {guideline.text.lower()}: {'; '.join(parts)}."


def plot(measured: Sequence[Measured]) -> Figure:
    """Returns a panel for each guideline: its rows' times relative to the recommended row."""
    names = list(dict.fromkeys(one.setting.guideline for one in measured))
    figure = Figure(figsize=(3.4 * len(names) + 2.6, 4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for name, axes in zip(names, panels, strict=True):
        guideline = GUIDELINES[name]
        labels = [variant.label for variant in guideline.variants]
        # G4's fastest row is its last.
        base = guideline.claims[-1].fast
        for column in _PAPERS:
            speeds = [variant.speeds[column][0] for variant in guideline.variants]
            fastest = guideline.variant(base).speeds[column][0]
            axes.plot(
                labels,
                [fastest / s for s in speeds],
                "k--" if column == "GPU" else "k:",
                label=_PAPERS[column],
            )
        for one in (each for each in measured if each.setting.guideline == name):
            ratios = [spread(one.slower(label, base))["median"] for label in labels]
            label = f"{one.setting.kind}, {one.setting.column} widths x{one.setting.multiple}"
            axes.plot(labels, ratios, "o-", markersize=3, linewidth=1, label=label)
        axes.set_title(f"{name} ({guideline.table})", fontsize=10)
        axes.tick_params(axis="x", labelrotation=45, labelsize=8)
    panels[0].set_ylabel("times as long for each multiply-add")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=7)
    return figure


def as_json(one: Measured) -> dict:
    """Returns all that was measured."""
    return {
        **vars(one.setting),
        "macs": dict(one.macs),
        "milliseconds": {
            label: [None if np.isnan(ms) else float(ms) for ms in passes]
            for label, passes in one.milliseconds.items()
        },
    }
