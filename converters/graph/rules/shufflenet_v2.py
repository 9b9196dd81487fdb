"""Stages of ShuffleNet V2: channels go straight to the unit that takes them.

Each channel of a stage goes either into the next unit's convolutions or past them to a later unit
(`stage_routes`). A unit writes its channels in the order of the units that will use them; each of
those concatenates slices of earlier outputs, and its 1x1 convolution absorbs their order. So no
shuffle and no split is left.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from converters.graph import reader
from converters.graph.operations import Graph
from converters.graph.operator import Folded
from converters.graph.rules.registry import Call, apply_rules, rules
from converters.graph.targets import Lowering
from keras_shufflenet import (
    ChannelShuffle,
    ChannelSplit,
    HardSqueezeExcite,
    ShuffleUnitV2,
    ShuffleUnitV2Plus,
    permutations,
)
from keras_shufflenet.permutations import PermutedTensor
from keras_shufflenet.stage_routes import stage_routes

Unit = ShuffleUnitV2 | ShuffleUnitV2Plus
# The classes of units that make a stage.
UNITS = (ShuffleUnitV2, ShuffleUnitV2Plus)


class Ending(NamedTuple):
    """The convolution that ends a path, which can write its channels in any order.

    Attributes:
      name: its name, and the beginning of those of what it is cut into.
      x: its input.
      folded: its weights.
      after: the layers after it and its BatchNormalization; they keep the order.
    """

    name: str
    x: PermutedTensor
    folded: Folded
    after: Sequence[Any]

    @property
    def cuttable(self) -> bool:
        """Whether parts of its channels can be computed alone: a gate needs all of them."""
        return not any(isinstance(layer, HardSqueezeExcite) for layer in self.after)


def add_stage(
    graph: Graph,
    lowering: Lowering,
    x: PermutedTensor,
    units: Sequence[Unit],
    names: Sequence[str],
) -> PermutedTensor:
    """Adds a unit of stride 2 and the units of stride 1 after it.

    Args:
      units: all units, one after the other, with nothing else that takes their outputs.
      names: the beginnings of their operators' names.

    Returns:
      The stage's output, in whatever order it has.
    """
    return _Stage(graph, lowering, units, names).build(x)


class _Stage:
    """Writes one stage of V2; keeps the slices that each unit will consume."""

    def __init__(
        self,
        graph: Graph,
        lowering: Lowering,
        units: Sequence[Unit],
        names: Sequence[str],
    ):
        self.graph = graph
        self.lowering = lowering
        self.units = units
        self.names = names
        self.routes = iter(stage_routes(units))
        # By the index of the unit that uses them (the number of units stands for the stage's
        # output), with the numbers that the channels have there.
        self.waiting: dict[int, list[PermutedTensor]] = defaultdict(list)

    def build(self, x: PermutedTensor) -> PermutedTensor:
        """Adds all units; returns the stage's output, in whatever order it has."""
        shortcut = _ending(self.graph, self.lowering, x, self.units[0], self.names[0], "shortcut")
        self._write(shortcut)
        for index, (unit, name) in enumerate(zip(self.units, self.names, strict=True)):
            if index:
                x = self._read(index, f"{name}_input")
            main = _ending(self.graph, self.lowering, x, unit, name, "main_path")
            self._write(main)
        return self._read(len(self.units), f"{self.names[0].removesuffix('_unit1')}_output")

    def _read(self, index: int, name: str) -> PermutedTensor:
        return self.graph.concat(self.waiting.pop(index), name, self.lowering.most_concatenated)

    def _write(self, ending: Ending) -> None:
        """Adds the convolution that ends the next path and hands out its channels."""
        route = next(self.routes)
        takers = np.unique(route.takers)
        pieces = [np.flatnonzero(route.takers == taker) for taker in takers]
        producers = self.lowering.producers if ending.cuttable else 1
        alone = min(producers, len(pieces)) - 1
        made = [
            _end(self.graph, self.lowering, ending, f"{ending.name}_to{taker + 1}", pieces[index])
            for index, taker in enumerate(takers[:alone])
        ]
        order = np.concatenate(pieces[alone:])
        whole = _end(self.graph, self.lowering, ending, ending.name, order)
        made += self._cut(whole, ending.name, takers[alone:], pieces[alone:])
        for taker, piece in zip(takers, made, strict=True):
            self.waiting[taker].append(piece.renumbered(route.numbers))

    def _cut(
        self, whole: PermutedTensor, name: str, takers: np.ndarray, pieces: list[np.ndarray]
    ) -> list[PermutedTensor]:
        """Returns the pieces that `whole` consists of, as slices if there are several."""
        if len(pieces) == 1:
            return [whole]
        ends = np.cumsum([len(piece) for piece in pieces])
        return [
            self.graph.slice(whole, f"{name}_slice{taker + 1}", int(end) - len(piece), int(end))
            for taker, piece, end in zip(takers, pieces, ends, strict=True)
        ]


def _ending(
    graph: Graph, lowering: Lowering, x: PermutedTensor, unit: Unit, name: str, path: str
) -> Ending:
    """Adds a path up to its last convolution, which is returned.

    Args:
      name: the beginning of the operators' names.
      path: "shortcut" or "main_path".
    """
    layers = getattr(unit, path)()
    *_, last = (
        index for index, layer in enumerate(layers) if isinstance(layer, keras.layers.Conv2D)
    )
    x = apply_rules(graph, lowering, [x], layers[:last], name)
    convolution, norm, *after = layers[last:]
    return Ending(f"{name}_{convolution.name}", x, reader.fold(convolution, norm), after)


def _end(
    graph: Graph, lowering: Lowering, ending: Ending, name: str, order: np.ndarray | None = None
) -> PermutedTensor:
    """Adds the convolution that ends a path and what follows it; all channels by default."""
    x = graph.conv(ending.x, name, ending.folded, order=order)
    return apply_rules(graph, lowering, [x], ending.after, name)


@rules(*UNITS)
def _unit(call: Call) -> PermutedTensor:
    """One unit by itself: something else takes the output of the one before, or its own."""
    graph, lowering, unit, name = call.graph, call.lowering, call.layer, call.name
    if unit.stride == 2:
        return add_stage(graph, lowering, call.x, [unit], [name])
    passed, entering = _halves(call, unit.split.interleaved)
    ending = _ending(graph, lowering, entering, unit, name, "main_path")
    x = _end(graph, lowering, ending, ending.name)
    pieces = [passed, x.shifted(passed.channels)]
    joined = graph.concat(pieces, f"{name}_join", lowering.most_concatenated)
    for layer in unit.merge():
        if isinstance(layer, ChannelShuffle):
            joined = joined.shuffled(layer.groups)
    return joined


def _halves(call: Call, interleaved: bool) -> list[PermutedTensor]:
    """Returns the two halves that a `ChannelSplit` makes, each numbered from 0."""
    numbers = permutations.halves(np.arange(call.x.channels), interleaved)
    result = []
    for half, name in zip(numbers, ("left", "right"), strict=True):
        # In the tensor's own order, so that halves whose channels are neighbours are slices.
        order = call.x.order[np.isin(call.x.order, half)]
        piece = call.graph.in_order(call.x, f"{call.name}_{name}", order)
        result.append(piece.renumbered(permutations.inverse(half, call.x.channels)))
    return result


@rules(ChannelSplit)
def _split(call: Call) -> list[PermutedTensor]:
    return _halves(call, call.layer.interleaved)


@rules(ChannelShuffle)
def _shuffle(call: Call) -> PermutedTensor:
    return call.x.shuffled(call.layer.groups)
