"""Where the channels of a V2 stage go: each into the convolutions of one later unit.

A unit of stride 1 passes half of its input on, so that a channel passes some units until one takes
it. Which one, and as which of its input channels, is known when the graph is built: a graph that
hands every channel straight to its unit needs no shuffle and no split.
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_shufflenet import permutations
from keras_shufflenet.layers import ChannelShuffle
from keras_shufflenet.units.two_paths import TwoPathUnit


class Route(NamedTuple):
    """Where the channels go that one path of a unit makes, int [channels] each.

    Attributes:
      takers: index of the unit that takes the channel; the number of units for the stage's output.
      numbers: the channel's number among those that this unit takes.
    """

    takers: np.ndarray
    numbers: np.ndarray


def stage_routes(units: Sequence[TwoPathUnit]) -> list[Route]:
    """Returns the routes of a stage's paths: the first unit's shortcut, then all main paths.

    Args:
      units: all of a stage's, built, of V2 or V2+; the first has stride 2, the others stride 1.
    """
    first, *others = units
    sizes = [first.shortcut_channels, *(unit.main_channels for unit in units)]
    shortcut, main, *mains = permutations.split(np.arange(sum(sizes)), sizes)
    channels = merged(first, shortcut, main)
    taken = []
    for unit, made in zip(others, mains, strict=True):
        passed, entering = permutations.halves(channels, unit.split.interleaved)
        taken.append(entering)
        channels = merged(unit, passed, made)
    taken.append(channels)
    takers, numbers = (np.empty(sum(sizes), int) for _ in range(2))
    for taker, entering in enumerate(taken, 1):
        takers[entering], numbers[entering] = taker, np.arange(len(entering))
    return [Route(takers[made], numbers[made]) for made in (shortcut, main, *mains)]


def merged(unit: TwoPathUnit, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the channels of two paths as the unit's own layers merge them."""
    channels = np.concatenate([left, right])
    for layer in unit.merge():
        if isinstance(layer, ChannelShuffle):
            channels = channels[permutations.shuffle(len(channels), layer.groups)]
        elif not isinstance(layer, keras.layers.Concatenate):
            raise ValueError(f"unit {unit.name!r} merges its paths by an unknown {layer!r}")
    return channels
