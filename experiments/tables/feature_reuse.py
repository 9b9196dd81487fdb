"""V2 Figure 4: how features are reused, by the formula and in a trained network's weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

from common.cli import UserError
from converters.graph import reader
from experiments.harness.experiment import Picture, Result, Settings, Table
from keras_shufflenet import ShuffleNetV2, ShuffleUnitV2, permutations
from keras_shufflenet.stage_routes import merged
from trainers.networks.models import load_model

# V2 section 3: r = 1 - c0 / c, where c0 of c channels pass a unit's convolutions: half of them.
RATIO = 0.5
# The network whose pattern is shown if no trained one is given.
_SCALE = 1.0
# Between two units, a mean of weights is reported from this many channels on.
_ENOUGH = 4


@dataclass(frozen=True)
class StageReuse:
    """How the units of a stage use each other's channels: [units, units], from row to column.

    Attributes:
      stage: 2 to 4.
      formula: r^j c channels of unit i's output reach unit i + j unchanged (V2, section 3).
      channels: the same, counted by following them through splits and shuffles.
      made: the channels that unit i computed and that enter unit i + j's main path.
      l1: the sum of |w| over these channels in unit i + j's first convolution.
    """

    stage: int
    formula: np.ndarray
    channels: np.ndarray
    made: np.ndarray
    l1: np.ndarray

    @property
    def distances(self) -> range:
        """How many units later channels are used."""
        return range(1, len(self.made))

    def mean(self, values: np.ndarray, distance: int) -> float:
        """Returns the mean of one of the arrays over all pairs of units at this distance."""
        return float(np.diagonal(values, distance).mean())

    def mean_weight(self, distance: int) -> float:
        """Returns the mean of |w| per channel at this distance; NaN without channels."""
        channels = np.diagonal(self.made, distance).sum()
        return float(np.diagonal(self.l1, distance).sum() / channels) if channels else np.nan


def run(settings: Settings, model: Path | None = None) -> Result:
    """Follows the channels of a ShuffleNetV2, and its weights if it is trained.

    Args:
      settings: nothing is measured, so they do not matter.
      model: a workdir of trainers.train or a .keras file; None: V2 1x, not trained.

    Raises:
      UserError: the model is missing or is not a ShuffleNetV2.
    """
    trained = model is not None
    network = _load(model) if trained else ShuffleNetV2(_SCALE)
    name = str(model) if trained else f"ShuffleNetV2 {_SCALE:g}x, not trained"
    stages = [stage_reuse(index, units) for index, units in enumerate(reader.stages(network), 2)]
    return Result(
        tables=[_table(stage, trained) for stage in stages],
        verdicts=_verdicts(stages, trained),
        pictures=[
            Picture("maps", f"How units use each other's channels: {name}", _plot(stages, trained))
        ],
        data={"model": name, "stages": [_as_json(stage) for stage in stages]},
    )


def stage_reuse(stage: int, units: Sequence[ShuffleUnitV2]) -> StageReuse:
    """Follows a stage's channels from the unit that computed them to the unit that reads them.

    Args:
      stage: its number.
      units: in order; the first has stride 2 and computes all channels of its output.
    """
    count, width = len(units), units[0].filters
    made, l1 = np.zeros((count, count)), np.zeros((count, count))
    makers = np.zeros(width, int)
    for index, unit in enumerate(units[1:], 1):
        passing, taken = permutations.halves(makers, unit.split.interleaved)
        weights = np.abs(np.asarray(unit.pointwise1.kernel, np.float64)[0, 0]).sum(axis=-1)
        np.add.at(made, (taken, index), 1)
        np.add.at(l1, (taken, index), weights)
        own = np.full(width - len(passing), index)
        makers = merged(unit, passing, own)
    units_apart = np.arange(count) - np.arange(count)[:, None]
    formula = np.where(units_apart > 0, width * RATIO ** np.maximum(units_apart, 0), 0.0)
    # A unit's channels are in its own output and in that of every unit up to the one that reads
    # them.
    channels = np.triu(made.cumsum(axis=0), 1)
    return StageReuse(stage, formula, channels, made, l1)


def _load(path: Path) -> keras.Model:
    model = load_model(path / "model.keras" if path.is_dir() else path)
    stages = reader.stages(model)
    if not stages or not all(isinstance(u, ShuffleUnitV2) for units in stages for u in units):
        raise UserError(f"{path} is not a ShuffleNetV2; name a trained ShuffleNetV2")
    return model


def _table(stage: StageReuse, trained: bool) -> Table:
    headers = ["units further on", "channels, r^j c", "channels, counted", "made there"]
    headers += ["l1 norm, share", "mean of a channel's l1 norm"] if trained else []
    total = sum(stage.mean(stage.l1, distance) for distance in stage.distances)
    rows = []
    for distance in stage.distances:
        row = [
            f"{distance}",
            f"{stage.mean(stage.formula, distance):.1f}",
            f"{stage.mean(stage.channels, distance):.1f}",
            f"{stage.mean(stage.made, distance):.1f}",
        ]
        if trained:
            row += [
                f"{stage.mean(stage.l1, distance) / total:.1%}",
                f"{stage.mean_weight(distance):.3f}",
            ]
        rows.append(row)
    note = "Means over all pairs of units so far apart."
    return Table(f"Stage{stage.stage}", headers, rows, note)


def _verdicts(stages: Sequence[StageReuse], trained: bool) -> list[str]:
    farthest = max(np.abs(stage.channels - stage.formula).max() for stage in stages)
    said = [f"The formula is within {farthest:.1f} channels of what splits and shuffles do."]
    if not trained:
        return [*said, "Name a trained network with --model to see its weights beside it."]
    for stage in stages:
        far = max(d for d in stage.distances if stage.mean(stage.made, d) >= _ENOUGH)
        weights = stage.mean_weight(far) / stage.mean_weight(1)
        said.append(
            f"Stage{stage.stage}, from the next unit to the one {far} units on: the l1 norm "
            f"of the weights falls by a factor of {_fall(stage, stage.l1, far):.2f} a unit, the "
            f"number of channels by {_fall(stage, stage.made, far):.2f}; each channel's own norm "
            f"becomes {weights:.2f} times as large."
        )
    return said


def _fall(stage: StageReuse, values: np.ndarray, far: int) -> float:
    return (stage.mean(values, far) / stage.mean(values, 1)) ** (1 / (far - 1))


def _plot(stages: Sequence[StageReuse], trained: bool) -> Figure:
    kinds = {"channels, by formula": "formula", "of these, computed there": "made"}
    if trained:
        kinds["l1 norm of weights"] = "l1"
    figure = Figure(figsize=(3 * len(stages), 2.8 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds), len(stages), squeeze=False)
    for row, (title, name) in zip(panels, kinds.items(), strict=True):
        for axes, stage in zip(row, stages, strict=True):
            values = getattr(stage, name)
            image = axes.imshow(values / values.max(), cmap="viridis", vmin=0, vmax=1)
            ticks = range(len(values))
            axes.set_xticks(ticks, [index + 1 for index in ticks])
            axes.set_yticks(ticks, [index + 1 for index in ticks])
            axes.set_title(f"Stage{stage.stage}: {title}", fontsize=9)
    panels[-1][0].set_xlabel("unit that takes them")
    panels[-1][0].set_ylabel("unit that gives them")
    figure.colorbar(image, ax=panels, label="of the largest")
    return figure


def _as_json(stage: StageReuse) -> dict:
    names = ("formula", "channels", "made", "l1")
    return {"stage": stage.stage, **{name: getattr(stage, name).tolist() for name in names}}
