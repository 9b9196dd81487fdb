"""Stages of ShuffleNet V2: channels go straight to the unit that takes them.

Each channel of a stage goes either into the next unit's convolutions or past them to a later unit
(`stage_routes`). A unit writes its channels in the order of the units that will use them; each of
those concatenates slices of earlier outputs, and its 1x1 convolution absorbs their order. So no
shuffle and no split is left.
"""

from collections import defaultdict
from collections.abc import Sequence

import keras
import numpy as np

from converters.graph import reader
from converters.graph.operations import Folded, Graph
from converters.graph.rules.registry import Call, rules
from converters.graph.targets import Lowering
from keras_shufflenet import ChannelShuffle, ChannelSplit, ShuffleUnitV2, permutations
from keras_shufflenet.permutations import PermutedTensor
from keras_shufflenet.stage_routes import stage_routes


def add_stage(
    graph: Graph,
    lowering: Lowering,
    x: PermutedTensor,
    units: Sequence[ShuffleUnitV2],
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


def pad(
    graph: Graph, x: PermutedTensor, name: str, layer: keras.layers.Layer
) -> tuple[PermutedTensor, str]:
    """Returns `x`, padded like PyTorch if `layer` needs that, and the padding still to do."""
    if layer.padding == "valid":
        return graph.pad(x, name), "valid"
    return x, "same"


class _Stage:
    """Writes one stage of V2; keeps the slices that each unit will consume."""

    def __init__(
        self,
        graph: Graph,
        lowering: Lowering,
        units: Sequence[ShuffleUnitV2],
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
        self._write(*self._shortcut(x), f"{self.names[0]}_shortcut_pointwise")
        for index, (unit, name) in enumerate(zip(self.units, self.names, strict=True)):
            if index:
                x = self._read(index, f"{name}_input")
            self._write(*add_main_path(self.graph, x, unit, name), f"{name}_pointwise2")
        return self._read(len(self.units), f"{self.names[0].removesuffix('_unit1')}_output")

    def _read(self, index: int, name: str) -> PermutedTensor:
        return self.graph.concat(self.waiting.pop(index), name, self.lowering.most_concatenated)

    def _shortcut(self, x: PermutedTensor) -> tuple[PermutedTensor, Folded]:
        unit, name = self.units[0], f"{self.names[0]}_shortcut_depthwise"
        x, padding = pad(self.graph, x, f"{name}_pad", unit.shortcut_depthwise)
        folded = reader.fold(unit.shortcut_depthwise, unit.shortcut_depthwise_bn)
        x = self.graph.depthwise(x, name, folded, 2, padding)
        return x, reader.fold(unit.shortcut_pointwise, unit.shortcut_pointwise_bn)

    def _write(self, x: PermutedTensor, folded: Folded, name: str) -> None:
        """Adds the convolution that ends the next path and hands out its channels.

        Args:
          x: the convolution's input.
          folded: its weights.
          name: its name.
        """
        route = next(self.routes)
        takers = np.unique(route.takers)
        pieces = [np.flatnonzero(route.takers == taker) for taker in takers]
        alone = min(self.lowering.producers, len(pieces)) - 1
        made = [
            self.graph.conv(
                x, f"{name}_to{taker + 1}", folded, activation="relu", order=pieces[index]
            )
            for index, taker in enumerate(takers[:alone])
        ]
        order = np.concatenate(pieces[alone:])
        whole = self.graph.conv(x, name, folded, activation="relu", order=order)
        made += self._cut(whole, name, takers[alone:], pieces[alone:])
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


def add_main_path(
    graph: Graph, x: PermutedTensor, unit: ShuffleUnitV2, name: str
) -> tuple[PermutedTensor, Folded]:
    """Adds a main path up to its last convolution; returns that one's input and weights."""
    folded = reader.fold(unit.pointwise1, unit.pointwise1_bn)
    x = graph.conv(x, f"{name}_pointwise1", folded, activation="relu")
    x, padding = pad(graph, x, f"{name}_depthwise_pad", unit.depthwise)
    folded = reader.fold(unit.depthwise, unit.depthwise_bn)
    x = graph.depthwise(x, f"{name}_depthwise", folded, unit.stride, padding)
    return x, reader.fold(unit.pointwise2, unit.pointwise2_bn)


@rules(ShuffleUnitV2)
def _unit(call: Call) -> PermutedTensor:
    """One unit by itself: something else takes the output of the one before, or its own."""
    graph, unit, name = call.graph, call.layer, call.name
    if unit.stride == 2:
        return add_stage(graph, call.lowering, call.x, [unit], [name])
    passed, entering = _halves(call, unit.split.interleaved)
    x, folded = add_main_path(graph, entering, unit, name)
    x = graph.conv(x, f"{name}_pointwise2", folded, activation="relu")
    pieces = [passed, x.shifted(passed.channels)]
    joined = graph.concat(pieces, f"{name}_join", call.lowering.most_concatenated)
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
