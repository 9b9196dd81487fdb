"""Five kinds of units with equal multiply-adds: their time and their accuracy (V1 Table 4)."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from converters.conversion_cache import Network
from edge.running.measurement import interval, spread
from experiments.harness.experiment import GRAPHS, Picture, Result, Settings, Table
from experiments.measuring.latencies import Latencies, measure_networks
from experiments.networks.structures import COMPLEXITIES, STRUCTURES, Widths, build, solve
from experiments.tables.latency_plots import bars
from experiments.training import accuracies
from experiments.training.config import QueueConfig, trainings_folder
from experiments.training.queue import Accuracy, Training, train_all

# By millions of multiply-adds, the ShuffleNet of the paper's table; otherwise 8 groups are used.
_SHUFFLENET = {140: "ShuffleNet g=8", 38: "ShuffleNet g=4", 13: "ShuffleNet g=8"}
_OTHERS = ("VGG-like", "ResNet", "Xception-like", "ResNeXt")
# V1 Table 4: top-1 error on ImageNet in percent.
_PAPER = {
    140: {
        "VGG-like": 50.7, "ResNet": 37.3, "Xception-like": 33.6, "ResNeXt": 33.3,
        "ShuffleNet g=8": 32.4,
    },
    38: {"ResNet": 48.8, "Xception-like": 45.1, "ResNeXt": 46.0, "ShuffleNet g=4": 41.6},
    13: {"ResNet": 63.7, "Xception-like": 57.1, "ResNeXt": 65.2, "ShuffleNet g=8": 52.7},
}  # fmt: skip
# From the paper's text: channels of Stage4 at 38 million multiply-adds.
_PAPER_STAGE4 = {
    "VGG-like": 50, "ResNet": 192, "ResNeXt": 192, "Xception-like": 288, "ShuffleNet g=4": 576,
}  # fmt: skip
_WITH_CHANNELS = 38
_SOURCES = ("experiments/networks/structures.py",)


@dataclass(frozen=True)
class Solved:
    """A structure with the widths that give it a number of multiply-adds.

    Attributes:
      millions: of multiply-adds.
      structure: its name in the table.
      widths: of its stem and stages.
    """

    millions: float
    structure: str
    widths: Widths

    @property
    def group(self) -> str:
        """The structures of equal multiply-adds are measured together."""
        return f"{self.millions:g} M"

    @property
    def name(self) -> str:
        """The name of its training."""
        return f"{self.structure.lower().replace(' ', '-').replace('=', '')}-{self.millions:g}m"

    @property
    def error(self) -> float | None:
        """The paper's top-1 error, percent; None if it gives none."""
        return _PAPER.get(self.millions, {}).get(self.structure)

    def network(self) -> Network:
        """Returns the network to convert."""
        return Network(
            name=self.name.replace("-", "_"),
            build=functools.partial(build, self.structure, self.widths),
            sources=_SOURCES,
            graphs=GRAPHS if STRUCTURES[self.structure].groups else GRAPHS[:1],
        )

    def row_name(self, graph: str) -> str:
        """The name of its row or bar."""
        return f"{self.structure}, {graph}" if STRUCTURES[self.structure].groups else self.structure


def run(
    settings: Settings,
    complexities: Sequence[float] = COMPLEXITIES,
    training: QueueConfig | None = None,
) -> Result:
    """Solves the widths, measures the networks, and trains them on request.

    Args:
      settings: the device, and how often.
      complexities: millions of multiply-adds.
      training: how the networks are trained; None: they are not.

    Raises:
      UserError: a complexity that a structure cannot have, or as measuring and training.
    """
    compared = [_solve_all(millions) for millions in complexities]
    everything = [one for solved in compared for one in solved]
    # Before the measuring, so that wrong flags or data are reported at once.
    if training:
        train_all([Training(one.name, one.network().build) for one in everything], training)
    networks = {(one.group, one.structure): one.network() for one in everything}
    found = measure_networks("structures", networks, settings)
    tables = [_table(solved, found) for solved in compared]
    verdicts = [_time_verdict(solved, found) for solved in compared]
    data = {"networks": [_record(one, found) for one in everything]}
    return accuracies.with_accuracies(
        Result(tables, verdicts, [_picture(compared, found)], data),
        "V1 Table 4, trained",
        [one.name for one in everything],
        trainings_folder(settings.output, "structures"),
        {one.name: one.error for one in everything if one.error},
        lambda trained: _accuracy_verdicts(compared, trained),
    )


def _solve_all(millions: float) -> list[Solved]:
    """Returns the structures that are compared at this complexity, ShuffleNet last."""
    names = (*_OTHERS, _SHUFFLENET.get(millions, "ShuffleNet g=8"))
    return [Solved(millions, name, solve(name, millions)) for name in names]


def _table(solved: Sequence[Solved], found: Latencies) -> Table:
    headers = [
        "structure", "stages", "multiply-adds, M", "the paper's error, %",
        "float32, ms", "int8, ms", "int8, times ShuffleNet's",
    ]  # fmt: skip
    rows = []
    for one in solved:
        key = (one.group, one.structure)
        for graph in found.graphs[key]:
            times_ours = found.ms(*key, "int8-ptq", graph) / found.ms(
                one.group, solved[-1].structure
            )
            rows.append(
                [
                    one.row_name(graph),
                    "/".join(map(str, one.widths.stages)),
                    found.size(*key)[0],
                    str(one.error or "-"),
                    *found.texts(*key, graph),
                    interval(spread(times_ours), 2, unit="x"),
                ]
            )
    note = (
        "Widths are solved for the multiply-adds at 224 pixels and 1000 classes. ShuffleNet and "
        "the Xception-like network, which is ShuffleNet with one group, are shown as usually "
        "converted and as deployment graphs; the last column compares with ShuffleNet's deployed."
    )
    if solved[0].millions == _WITH_CHANNELS:
        channels = ", ".join(f"{name} {wide}" for name, wide in _PAPER_STAGE4.items())
        note += f" The paper's channels of Stage4 at this complexity: {channels}."
    return Table(f"V1 Table 4 at {_title(solved)}", headers, rows, note)


def _title(solved: Sequence[Solved]) -> str:
    return f"{solved[0].millions:g} million multiply-adds"


def _picture(compared: Sequence[Sequence[Solved]], found: Latencies) -> Picture:
    panels = {
        _title(solved): {
            one.row_name(graph): found.spread(one.group, one.structure, "int8-ptq", graph)
            for one in solved
            for graph in found.graphs[one.group, one.structure]
        }
        for solved in compared
    }
    return Picture("times", "Time of equal multiply-adds, by structure", bars(panels, "int8, ms"))


def _time_verdict(solved: Sequence[Solved], found: Latencies) -> str:
    """Describes which structure is the fastest in int8, and how far ShuffleNet is from it."""
    ours, medians = solved[-1], {}
    for one in solved:
        medians[one.structure] = found.spread(one.group, one.structure)["median"]
    known = {name: median for name, median in medians.items() if not np.isnan(median)}
    if ours.structure not in known:
        return f"At {_title(solved)} the device refuses ShuffleNet."
    fastest = min(known, key=known.__getitem__)
    ratios = ", ".join(
        f"{found.ratio_text(ours.group, name, ours.structure)} for {name}"
        for name in known
        if name != ours.structure
    )
    return (
        f"At {_title(solved)} {fastest} is the fastest in int8. Times {ours.structure}'s, "
        f"deployed: {ratios}."
    )


def _accuracy_verdicts(
    compared: Sequence[Sequence[Solved]], trained: Mapping[str, Accuracy]
) -> Iterator[str]:
    """Yields a verdict for each comparison with ShuffleNet that the paper makes."""
    for *others, ours in compared:
        for one in others:
            if one.error and {one.name, ours.name} <= trained.keys():
                yield accuracies.verdict(
                    f"ShuffleNet is more accurate than {one.structure} at {one.group}",
                    trained[ours.name],
                    trained[one.name],
                    one.error - ours.error,
                )


def _record(one: Solved, found: Latencies) -> dict:
    return {
        **found.as_json(one.group, one.structure),
        "millions": one.millions,
        "stem": one.widths.stem,
        "stages": list(one.widths.stages),
    }
