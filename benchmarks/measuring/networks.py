"""The networks that benchmarks measure: random weights, because latency does not depend on them."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from common.choices import choose
from converters.random_weights import random_network
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2

SIZE = 224


@dataclass(frozen=True)
class Network:
    """How a network is built."""

    build: Callable[..., keras.Model]
    arguments: Mapping[str, Any] = field(default_factory=dict)


NETWORKS = {
    "v2-0.5x": Network(ShuffleNetV2, {"scale": 0.5}),
    "v2-1x": Network(ShuffleNetV2, {"scale": 1.0}),
    "v2-1.5x": Network(ShuffleNetV2, {"scale": 1.5}),
    "v2-2x": Network(ShuffleNetV2, {"scale": 2.0}),
    "v2-0.5x-symmetric": Network(ShuffleNetV2, {"scale": 0.5, "padding": "symmetric"}),
    "v2-1x-symmetric": Network(ShuffleNetV2, {"scale": 1.0, "padding": "symmetric"}),
    "v2-1.5x-symmetric": Network(ShuffleNetV2, {"scale": 1.5, "padding": "symmetric"}),
    "v2-2x-symmetric": Network(ShuffleNetV2, {"scale": 2.0, "padding": "symmetric"}),
    "v1-1x-g3": Network(ShuffleNetV1, {"scale": 1.0, "groups": 3}),
    "v1-1x-g8": Network(ShuffleNetV1, {"scale": 1.0, "groups": 8}),
}


def builder(name: str, **changes: Any) -> Callable[[], keras.Model]:
    """Returns what builds a network of `NETWORKS`, with logits and a fixed input size.

    Args:
      name: a key of `NETWORKS`.
      changes: arguments of the network that shall differ, such as shuffle=False.
    """
    network = NETWORKS[name]
    settings = {"input_shape": (SIZE, SIZE, 3), "classifier_activation": None}
    return functools.partial(network.build, **{**settings, **network.arguments, **changes})


def build(name: str, **changes: Any) -> keras.Model:
    """Returns what `builder` builds, with random weights that are the same every time.

    Examples:
      >>> model = build("v2-1x")
    """
    return random_network(builder(name, **changes))


def check_names(names: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the names as given, or all of `NETWORKS` for None.

    Raises:
      UserError: a name that is not there.
    """
    return choose("network", names or None, NETWORKS)
