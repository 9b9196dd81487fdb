"""The effect of groups and of shuffles: complexity, time and accuracy (V1 Tables 2 and 3)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras

from common.choices import choose
from converters.conversion_cache import Network
from experiments.harness.experiment import GRAPHS, Picture, Result, Settings, Table
from experiments.measuring.latencies import Latencies, measure_networks
from experiments.tables.latency_plots import bars
from experiments.training import accuracies
from experiments.training.config import QueueConfig, trainings_folder
from experiments.training.queue import Accuracy, Training, train_all
from keras_shufflenet import ShuffleNetV1

SCALES = (1.0, 0.5, 0.25)
GROUPS = (1, 2, 3, 4, 8)
# V1 Table 2: top-1 error on ImageNet in percent, by scale and number of groups.
_TABLE_2 = {
    1.0: {1: 33.6, 2: 32.7, 3: 32.6, 4: 32.8, 8: 32.4},
    0.5: {1: 45.1, 2: 44.4, 3: 43.2, 4: 41.6, 8: 42.3},
    0.25: {1: 57.1, 2: 56.8, 3: 55.0, 4: 54.2, 8: 52.7},
}
# V1 Table 3: the same without the shuffles.
_TABLE_3 = {
    1.0: {3: 34.5, 8: 37.6},
    0.5: {3: 45.7, 8: 48.1},
    0.25: {3: 56.3, 8: 56.5},
}


@dataclass(frozen=True)
class Variant:
    """A ShuffleNet V1 of the tables."""

    scale: float
    groups: int
    shuffle: bool = True

    @property
    def name(self) -> str:
        """The name in `--networks`."""
        return f"{self.scale:g}x-g{self.groups}{'' if self.shuffle else '-no-shuffle'}"

    @property
    def error(self) -> float:
        """The paper's top-1 error, percent."""
        return (_TABLE_2 if self.shuffle else _TABLE_3)[self.scale][self.groups]

    @property
    def group(self) -> str:
        """The variants of a scale are measured together."""
        return f"{self.scale:g}x"

    def network(self) -> Network:
        """Returns the network to convert; the cache always checks the package's own sources."""
        return Network(f"v1_{self.name.replace('-', '_')}", self.build, (), GRAPHS)

    def build(self, **arguments) -> keras.Model:
        """Returns the network with random weights; its outputs are logits."""
        return ShuffleNetV1(
            self.scale, self.groups, shuffle=self.shuffle, classifier_activation=None, **arguments
        )


_ALL = (
    *(Variant(scale, groups) for scale in SCALES for groups in GROUPS),
    *(Variant(scale, groups, False) for scale in SCALES for groups in _TABLE_3[scale]),
)
VARIANTS = {variant.name: variant for variant in _ALL}
# What is compared: with shuffles and without, and many groups with one.
_SHUFFLES = [
    (Variant(scale, groups), Variant(scale, groups, shuffle=False))
    for scale, errors in _TABLE_3.items()
    for groups in errors
]
_MANY_GROUPS = [(Variant(scale, 8), Variant(scale, 1)) for scale in SCALES]


def run(
    settings: Settings,
    networks: Sequence[str] | None = None,
    training: QueueConfig | None = None,
) -> Result:
    """Measures the variants, and trains them on request.

    Args:
      settings: the device, and how often.
      networks: keys of `VARIANTS`; None: all.
      training: how the networks are trained; None: they are not.

    Raises:
      UserError: an unknown network, or as measuring and training.
    """
    chosen = [VARIANTS[name] for name in choose("network", networks, VARIANTS)]
    # Before the measuring, so that wrong flags or data are reported at once.
    if training:
        train_all([Training(one.name, one.build) for one in chosen], training)
    measured = {(one.group, one.name): one.network() for one in chosen}
    found = measure_networks("ablations", measured, settings)
    scales = dict.fromkeys(one.scale for one in chosen)
    tables = [_table(scale, chosen, found) for scale in scales]
    verdicts = list(_time_verdicts(chosen, found))
    data = {"networks": [found.as_json(one.group, one.name) for one in chosen]}
    return accuracies.with_accuracies(
        Result(tables, verdicts, [_picture(chosen, found)], data),
        "V1 Tables 2 and 3, trained",
        [one.name for one in chosen],
        trainings_folder(settings.output, "ablations"),
        {one.name: one.error for one in chosen},
        _accuracy_verdicts,
    )


def _table(scale: float, chosen: Sequence[Variant], found: Latencies) -> Table:
    headers = [
        "network", "multiply-adds, M", "parameters", "the paper's error, %", "float32, ms",
        "int8, ms", "int8 usually converted, ms",
    ]  # fmt: skip
    rows = [
        [
            one.name,
            *found.size(one.group, one.name),
            f"{one.error}",
            *found.texts(one.group, one.name),
            found.text(one.group, one.name, "int8-ptq", "canonical"),
        ]
        for one in chosen
        if one.scale == scale
    ]
    note = "Times are of the deployment graph, but for the last column. One image of 224 pixels."
    return Table(f"V1 Tables 2 and 3 at {scale:g}x", headers, rows, note)


def _picture(chosen: Sequence[Variant], found: Latencies) -> Picture:
    panels: dict[str, dict] = {}
    for one in chosen:
        panels.setdefault(one.group, {})[one.name] = found.spread(one.group, one.name)
    title = "Time by number of groups, with shuffles and without"
    return Picture("times", title, bars(panels, "int8, deployment graph, ms"))


def _time_verdicts(chosen: Sequence[Variant], found: Latencies) -> Iterator[str]:
    """Yields what groups and shuffles cost in time, if both variants were measured."""
    names = {one.name for one in chosen}
    for many, one in _known(_MANY_GROUPS, names):
        ratio = found.ratio_text(one.group, many.name, one.name)
        yield (
            f"{one.group}: 8 groups take {ratio} the time of one group in int8, "
            "with about the same multiply-adds."
        )
    for shuffled, plain in _known(_SHUFFLES, names):
        key = (shuffled.group, shuffled.name, plain.name, "int8-ptq")
        usual, deployed = (found.ratio_text(*key, graph) for graph in GRAPHS)
        yield (
            f"{shuffled.group} g={shuffled.groups}: the shuffles cost {usual} the time without "
            f"them as usually converted, {deployed} deployed, in int8."
        )


def _accuracy_verdicts(trained: Mapping[str, Accuracy]) -> Iterator[str]:
    for shuffled, plain in _known(_SHUFFLES, trained):
        claim = f"Shuffling helps at {shuffled.group} g={shuffled.groups}"
        yield _accuracy_verdict(claim, trained, shuffled, plain)
    for many, one in _known(_MANY_GROUPS, trained):
        claim = f"8 groups are more accurate than one at {one.group}"
        yield _accuracy_verdict(claim, trained, many, one)


def _accuracy_verdict(
    claim: str, trained: Mapping[str, Accuracy], better: Variant, worse: Variant
) -> str:
    points = worse.error - better.error
    return accuracies.verdict(claim, trained[better.name], trained[worse.name], points)


def _known(
    pairs: Sequence[tuple[Variant, Variant]], names: Collection[str]
) -> list[tuple[Variant, Variant]]:
    """Returns the pairs of which both names are known."""
    return [pair for pair in pairs if all(one.name in names for one in pair)]
