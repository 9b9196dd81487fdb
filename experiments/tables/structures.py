"""Five kinds of units with equal multiply-adds: their time and their accuracy (V1 Table 4)."""

import functools
from collections.abc import Iterator, Mapping, Sequence

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


def structures_at(millions: float) -> tuple[str, ...]:
    """Returns the structures that are compared at this complexity, ShuffleNet last."""
    return (*_OTHERS, _SHUFFLENET.get(millions, "ShuffleNet g=8"))


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
    solved = {
        millions: {name: solve(name, millions) for name in structures_at(millions)}
        for millions in complexities
    }
    pairs = [(millions, name) for millions, structures in solved.items() for name in structures]
    trainings = [
        Training(_full_name(name, m), functools.partial(build, name, solved[m][name]))
        for m, name in pairs
    ]
    # Before the measuring, so that wrong flags or data are reported at once.
    if training:
        train_all(trainings, training)
    measured = {(_group(m), name): _network(m, name, solved[m][name]) for m, name in pairs}
    found = measure_networks("structures", measured, settings)
    tables = [_table(millions, solved[millions], found) for millions in solved]
    verdicts = [_time_verdict(millions, found) for millions in solved]
    data = {"networks": [_record(m, name, solved[m][name], found) for m, name in pairs]}
    return accuracies.with_accuracies(
        Result(tables, verdicts, [_picture(solved, found)], data),
        "V1 Table 4, trained",
        [one.name for one in trainings],
        trainings_folder(settings.output, "structures"),
        {_full_name(n, m): e for m, errors in _PAPER.items() for n, e in errors.items()},
        lambda trained: _accuracy_verdicts(solved, trained),
    )


def _group(millions: float) -> str:
    return f"{millions:g} M"


def _network(millions: float, name: str, widths: Widths) -> Network:
    return Network(
        name=_full_name(name, millions).replace("-", "_"),
        build=functools.partial(build, name, widths),
        sources=_SOURCES,
        graphs=GRAPHS if STRUCTURES[name].groups else GRAPHS[:1],
    )


def _table(millions: float, solved: Mapping[str, Widths], found: Latencies) -> Table:
    headers = [
        "structure", "stages", "multiply-adds, M", "the paper's error, %",
        "float32, ms", "int8, ms", "int8, times ShuffleNet's",
    ]  # fmt: skip
    group, ours = _group(millions), structures_at(millions)[-1]
    rows = []
    for name, widths in solved.items():
        for graph in found.graphs[group, name]:
            times_ours = found.ms(group, name, "int8-ptq", graph) / found.ms(group, ours)
            rows.append(
                [
                    _row_name(name, graph),
                    "/".join(map(str, widths.stages)),
                    f"{found.models[group, name]['macs'] / 1e6:.2f}",
                    str(_PAPER.get(millions, {}).get(name, "-")),
                    found.text(group, name, "none", graph),
                    found.text(group, name, "int8-ptq", graph),
                    interval(spread(times_ours), 2, unit="x"),
                ]
            )
    note = (
        "Widths are solved for the multiply-adds at 224 pixels and 1000 classes. ShuffleNet and "
        "the Xception-like network, which is ShuffleNet with one group, are shown as usually "
        "converted and as deployment graphs; the last column compares with ShuffleNet's deployed."
    )
    if millions == _WITH_CHANNELS:
        channels = ", ".join(f"{name} {wide}" for name, wide in _PAPER_STAGE4.items())
        note += f" The paper's channels of Stage4 at this complexity: {channels}."
    return Table(f"V1 Table 4 at {millions:g} million multiply-adds", headers, rows, note)


def _picture(solved: Mapping[float, Mapping[str, Widths]], found: Latencies) -> Picture:
    panels = {
        f"{millions:g} million multiply-adds": {
            _row_name(name, graph): found.spread(_group(millions), name, "int8-ptq", graph)
            for name in structures
            for graph in found.graphs[_group(millions), name]
        }
        for millions, structures in solved.items()
    }
    return Picture("times", "Time of equal multiply-adds, by structure", bars(panels, "int8, ms"))


def _row_name(name: str, graph: str) -> str:
    return f"{name}, {graph}" if STRUCTURES[name].groups else name


def _time_verdict(millions: float, found: Latencies) -> str:
    """Describes which structure is the fastest in int8, and how far ShuffleNet is from it."""
    group, names = _group(millions), structures_at(millions)
    medians = {name: found.spread(group, name)["median"] for name in names}
    known = {name: median for name, median in medians.items() if not np.isnan(median)}
    if names[-1] not in known:
        return f"At {millions:g} million multiply-adds the device refuses ShuffleNet."
    fastest = min(known, key=known.__getitem__)
    others = [name for name in known if name != names[-1]]
    ratios = ", ".join(f"{found.ratio_text(group, name, names[-1])} for {name}" for name in others)
    return (
        f"At {millions:g} million multiply-adds {fastest} is the fastest in int8. Times "
        f"{names[-1]}'s, deployed: {ratios}."
    )


def _full_name(name: str, millions: float) -> str:
    return f"{name.lower().replace(' ', '-').replace('=', '')}-{millions:g}m"


def _accuracy_verdicts(
    solved: Mapping[float, Mapping[str, Widths]], trained: Mapping[str, Accuracy]
) -> Iterator[str]:
    """Yields a verdict for each comparison with ShuffleNet that the paper makes."""
    for millions in solved:
        errors, ours = _PAPER.get(millions, {}), structures_at(millions)[-1]
        for name in _OTHERS:
            pair = [_full_name(each, millions) for each in (ours, name)]
            if name in errors and set(pair) <= set(trained):
                yield accuracies.verdict(
                    f"ShuffleNet is more accurate than {name} at {millions:g} M",
                    *(trained[each] for each in pair),
                    errors[name] - errors[ours],
                )


def _record(millions: float, name: str, widths: Widths, found: Latencies) -> dict:
    record = found.as_json(_group(millions), name)
    return {**record, "millions": millions, "stem": widths.stem, "stages": list(widths.stages)}
