"""Multiply-adds and parameters of every variant: V1 Tables 1, 2 and 5, V2 Table 5."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import keras
from matplotlib.figure import Figure

from experiments.harness.experiment import Picture, Result, Settings, Table
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2
from keras_shufflenet.complexity import complexity

# V1 Table 1, last row: multiply-adds in millions at 1x, by the number of groups.
V1_TABLE_1 = {1: 143, 2: 140, 3: 137, 4: 133, 8: 137}
# V1 Table 2: one figure in millions for all numbers of groups, by scale.
V1_TABLE_2 = {1.0: 140, 0.5: 38, 0.25: 13}
# V1 Table 5, 3 groups: by scale and whether there are Squeeze-and-Excitation units.
V1_TABLE_5 = {(2.0, True): 527, (2.0, False): 524, (1.5, False): 292}
# V2 Table 5: multiply-adds and parameters in millions, by scale.
V2_TABLE_5 = {0.5: (41, 1.4), 1.0: (146, 2.3), 1.5: (299, 3.5), 2.0: (591, 7.4)}

_MILLION = 1e6
# By table: where the differences come from, as far as known.
_NOTES = {
    "V1 Table 1": (
        "The paper's figures at 1x are without the classifier, which has 576,000 to 1,536,000 "
        "multiply-adds: without it all five agree to the last digit."
    ),
    "V1 Table 2": (
        "The paper gives one figure for all numbers of groups. The stem is not scaled as the "
        "stages are: 12 channels at 0.25x and 0.5x; with 8 groups 8 and 16, because 12 would leave "
        "Stage2's first unit no multiple of 8. That is the difference of g=8. Bottlenecks of g=2 "
        "and g=4 that their groups do not divide are rounded."
    ),
    "V1 Table 5": "At 1.5x and 2x the paper's figures are with the classifier, and agree.",
    "V2 Table 5": (
        "The authors counted another first unit of Stage2 than the text describes: in their code "
        '(`convention="megvii"`) its shortcut stays as narrow as its input. So built, 1x, 1.5x and '
        "2x agree to the last digit. At 0.5x both are one network, half a million below the "
        "paper's rounding. torchvision has the text's unit, and gives 0.04, 0.14, 0.30 and 0.58 "
        "billion."
    ),
}


@dataclass(frozen=True)
class Count:
    """A variant's cost next to the paper's figures.

    Attributes:
      table: of the paper.
      network: such as "V1 1x g=3".
      macs: multiply-adds of one image of 224 pixels, with 1000 classes.
      classifier: the multiply-adds of the classifier among them.
      parameters: with gamma and beta, without moving statistics.
      paper_macs: in millions.
      paper_parameters: in millions; None if the paper does not give them.
    """

    table: str
    network: str
    macs: int
    classifier: int
    parameters: int
    paper_macs: float
    paper_parameters: float | None = None


def run(settings: Settings) -> Result:
    """Counts all variants; nothing is measured, so the settings do not matter."""
    counts = list(_count_all())
    return Result(
        tables=[_table(name, [c for c in counts if c.table == name]) for name in _NOTES],
        verdicts=_verdicts(counts),
        pictures=[Picture("differences", "Multiply-adds here against the papers'", _plot(counts))],
        data={"variants": [asdict(count) for count in counts]},
    )


def _count_all() -> Iterator[Count]:
    for groups, paper in V1_TABLE_1.items():
        yield _count("V1 Table 1", f"V1 1x g={groups}", ShuffleNetV1(1.0, groups), paper)
    for scale, paper in V1_TABLE_2.items():
        for groups in V1_TABLE_1:
            name = f"V1 {scale:g}x g={groups}"
            yield _count("V1 Table 2", name, ShuffleNetV1(scale, groups), paper)
    for (scale, se), paper in V1_TABLE_5.items():
        name = f"V1 {scale:g}x g=3{' with SE' if se else ''}"
        yield _count("V1 Table 5", name, ShuffleNetV1(scale, 3, se=se), paper)
    for convention, suffix in {"paper": "", "megvii": ", megvii"}.items():
        for scale, figures in V2_TABLE_5.items():
            model = ShuffleNetV2(scale, convention=convention)
            yield _count("V2 Table 5", f"V2 {scale:g}x{suffix}", model, *figures)


def _count(
    table: str,
    network: str,
    model: keras.Model,
    paper: float,
    paper_parameters: float | None = None,
) -> Count:
    counted = complexity(model)
    (classifier,) = (row.macs for row in counted.rows if row.name == "predictions")
    return Count(
        table, network, counted.macs, classifier, counted.parameters, paper, paper_parameters
    )


def _table(name: str, counts: list[Count]) -> Table:
    headers = ["network", "multiply-adds", "paper, M", "difference", "without the classifier, M"]
    headers += ["parameters", "paper, M"]
    rows = [
        [
            count.network,
            f"{count.macs:,}",
            f"{count.paper_macs:g}",
            f"{_difference(count):+.1%}",
            f"{(count.macs - count.classifier) / _MILLION:.1f}",
            f"{count.parameters:,}",
            "-" if count.paper_parameters is None else f"{count.paper_parameters:g}",
        ]
        for count in counts
    ]
    return Table(name, headers, rows, _NOTES[name])


def _difference(count: Count) -> float:
    return count.macs / (count.paper_macs * _MILLION) - 1


def _verdicts(counts: list[Count]) -> list[str]:
    exact = [count for count in counts if _agrees(count)]
    worst = max(counts, key=lambda count: abs(_difference(count)))
    return [
        f"{len(exact)} of {len(counts)} figures agree to the paper's last digit, with or without "
        "the classifier; the notes below the tables say where the others differ and why.",
        f"The largest difference is {worst.network}'s, {_difference(worst):+.1%}.",
    ]


def _agrees(count: Count) -> bool:
    both = (count.macs, count.macs - count.classifier)
    return count.paper_macs in [round(macs / _MILLION) for macs in both]


def _plot(counts: list[Count]) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for table in _NOTES:
        chosen = [count for count in counts if count.table == table]
        differences = [100 * _difference(count) for count in chosen]
        axes.plot([count.macs / _MILLION for count in chosen], differences, "o", label=table)
    axes.axhline(0, color="gray", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("million multiply-adds")
    axes.set_ylabel("% more than the paper says")
    axes.legend()
    return figure
