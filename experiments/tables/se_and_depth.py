"""What Squeeze-and-Excitation, residual connections and depth cost (V1 Table 5, V2 Section 4)."""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras

from common.choices import choose
from converters.conversion_cache import Network
from experiments.harness.experiment import GRAPHS, Picture, Result, Settings, Table
from experiments.measuring.latencies import SHOWN, Latencies, measure_networks
from experiments.networks import deep
from experiments.networks.deep import DEPTHS
from experiments.tables.latency_plots import bars
from experiments.training import accuracies
from experiments.training.config import QueueConfig, trainings_folder
from experiments.training.queue import Accuracy, Training, train_all
from keras_shufflenet import ShuffleNetV1

_SOURCES = ("experiments/networks/deep.py",)
# V1, section 4.3: how much slower networks with SE are on the paper's phone.
_PAPER_SLOWER = "25 to 40%"


@dataclass(frozen=True)
class Variant:
    """A network with some of the additions.

    Attributes:
      base: the network that they are added to; the variants of a base are measured together.
      se, residual: what is added.
      build: returns the network.
      graphs: both for networks of keras_shufflenet, only the canonical one for others.
      error: the paper's top-1 error on ImageNet in percent, or None.
      by_default: whether it is measured if no networks are named.
    """

    base: str
    se: bool
    residual: bool
    build: Callable[..., keras.Model]
    graphs: tuple[str, ...] = GRAPHS[:1]
    error: float | None = None
    by_default: bool = True

    @property
    def name(self) -> str:
        """The name in `--networks`."""
        return f"{self.base}{'-residual' if self.residual else ''}{'-se' if self.se else ''}"


def _v1(scale: float, errors: Mapping[bool, float]) -> Iterator[Variant]:
    for se in (False, True):
        build = functools.partial(ShuffleNetV1, scale, 3, classifier_activation=None, se=se)
        yield Variant(f"v1-{scale:g}x-g3", se, False, build, GRAPHS, errors.get(se))


def _deep(base: str, depth: str, errors: Mapping[tuple[bool, bool], float]) -> Iterator[Variant]:
    for se in (False, True):
        for residual in (False, True):
            build = functools.partial(deep.build, DEPTHS[depth], residual=residual, se=se)
            error = errors.get((se, residual))
            # V2-164 has half a gigabyte in float32.
            yield Variant(base, se, residual, build, error=error, by_default=base != "v2-164")


_ALL = (
    # V1 Tables 2 and 5.
    *_v1(0.5, {False: 43.2}),
    *_v1(1.0, {False: 32.6}),
    *_v1(2.0, {False: 26.3, True: 24.7}),
    *_deep("v2-0.5x", "V2 0.5x", {}),
    *_deep("v2-0.5x-deep", "V2 0.5x, 3 times as deep", {}),
    # V2 Table 6.
    *_deep("v2-50", "V2-50", {(False, False): 22.8}),
    *_deep("v2-164", "V2-164", {(True, True): 18.56}),
)
VARIANTS = {variant.name: variant for variant in _ALL}


def run(
    settings: Settings,
    networks: Sequence[str] | None = None,
    training: QueueConfig | None = None,
) -> Result:
    """Measures the variants, and trains them on request.

    Args:
      settings: the device, and how often.
      networks: keys of `VARIANTS`; None: all except those of 164 layers.
      training: how the networks are trained; None: they are not.

    Raises:
      UserError: an unknown network, or as measuring and training.
    """
    names = networks or [name for name, one in VARIANTS.items() if one.by_default]
    chosen = [VARIANTS[name] for name in choose("network", names, VARIANTS)]
    # Before the measuring, so that wrong flags or data are reported at once.
    if training:
        train_all([Training(one.name, one.build) for one in chosen], training)
    measured = {
        (one.base, one.name): Network(one.name.replace("-", "_"), one.build, _SOURCES, one.graphs)
        for one in chosen
    }
    found = measure_networks("se_and_depth", measured, settings)
    tables = [_table(chosen, found)]
    verdicts = list(_time_verdicts(chosen, found))
    data = {"networks": [found.as_json(one.base, one.name) for one in chosen]}
    return accuracies.with_accuracies(
        Result(tables, verdicts, _pictures(chosen, found), data),
        "Squeeze-and-Excitation, residual connections and depth, trained",
        [one.name for one in chosen],
        trainings_folder(settings.output, "se_and_depth"),
        {one.name: one.error for one in chosen if one.error},
        _accuracy_verdicts,
    )


def _pairs(names: Collection[str]) -> dict[str, str]:
    """Returns, by network with additions, the one without, if both are among the names."""
    bases = {name: VARIANTS[name].base for name in names}
    return {name: base for name, base in bases.items() if name != base and base in bases}


def _table(chosen: Sequence[Variant], found: Latencies) -> Table:
    headers = [
        "network", "multiply-adds, M", "parameters", "the paper's error, %", "float32, ms",
        "int8, ms", "int8, times that without",
    ]  # fmt: skip
    pairs = _pairs([one.name for one in chosen])
    rows = []
    for one in chosen:
        for graph in one.graphs:
            key = (one.base, one.name)
            ratio_key = (*key, one.base, "int8-ptq", graph)
            rows.append(
                [
                    f"{one.name}, {graph}" if len(one.graphs) > 1 else one.name,
                    *found.size(*key, digits=1),
                    f"{one.error or '-'}",
                    *found.texts(*key, graph),
                    found.ratio_text(*ratio_key) if one.name in pairs else "-",
                ]
            )
    note = (
        "V1's networks are shown as usually converted and as deployment graphs. V2's, whose units "
        "with additions are no part of the package, are usually converted, also without them. One "
        "image of 224 pixels."
    )
    return Table("V1 Table 5, V2 Table 6", headers, rows, note)


def _pictures(chosen: Sequence[Variant], found: Latencies) -> list[Picture]:
    pairs = _pairs([one.name for one in chosen])
    ratios = {name: found.ratio(base, name, base) for name, base in pairs.items()}
    if not ratios:
        return []
    figure = bars({"With additions": ratios}, "int8, times the network without")
    return [Picture("ratios", "What each addition costs", figure)]


def _time_verdicts(chosen: Sequence[Variant], found: Latencies) -> Iterator[str]:
    """Yields what each addition costs in time, next to the paper's figure for SE."""
    for name, base in _pairs([one.name for one in chosen]).items():
        one = VARIANTS[name]
        paper = f" (V1's phone: {_PAPER_SLOWER} slower)" if one.se and not one.residual else ""
        costs = ", ".join(
            f"{shown}{f' {graph}' if len(one.graphs) > 1 else ''} "
            f"{found.ratio_text(base, name, base, quantization, graph)}"
            for quantization, shown in SHOWN.items()
            for graph in one.graphs
        )
        yield f"{name} takes, times {base}{paper}: {costs}."


def _accuracy_verdicts(trained: Mapping[str, Accuracy]) -> Iterator[str]:
    for name, base in _pairs(trained).items():
        one, errors = VARIANTS[name], (VARIANTS[base].error, VARIANTS[name].error)
        points = None if None in errors else errors[0] - errors[1]
        additions = {"residual connections": one.residual, "SE": one.se}
        added = " and ".join(word for word, there in additions.items() if there)
        claim = f"{base} is more accurate with {added}"
        yield accuracies.verdict(claim, trained[name], trained[base], points)
