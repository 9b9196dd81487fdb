"""The networks that benchmarks measure: random weights, because latency does not depend on them."""

import functools
from collections.abc import Sequence
from typing import Any

import keras

from common.choices import choose
from converters.random_weights import random_network
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2

# With logits and a fixed input size.
_SETTINGS = {"input_shape": (224, 224, 3), "classifier_activation": None}


def _v1(**arguments: Any) -> functools.partial:
    return functools.partial(ShuffleNetV1, **_SETTINGS, **arguments)


def _v2(**arguments: Any) -> functools.partial:
    return functools.partial(ShuffleNetV2, **_SETTINGS, **arguments)


# By name, a function that builds the network; an argument such as shuffle=False changes it.
NETWORKS = {
    "v2-0.5x": _v2(scale=0.5),
    "v2-1x": _v2(scale=1.0),
    "v2-1.5x": _v2(scale=1.5),
    "v2-2x": _v2(scale=2.0),
    "v2-0.5x-symmetric": _v2(scale=0.5, padding="symmetric"),
    "v2-1x-symmetric": _v2(scale=1.0, padding="symmetric"),
    "v2-1.5x-symmetric": _v2(scale=1.5, padding="symmetric"),
    "v2-2x-symmetric": _v2(scale=2.0, padding="symmetric"),
    "v1-1x-g3": _v1(scale=1.0, groups=3),
    "v1-1x-g8": _v1(scale=1.0, groups=8),
}


def build(name: str, **changes: Any) -> keras.Model:
    """Returns a network of `NETWORKS` with random weights that are the same every time.

    Args:
      name: a key of `NETWORKS`.
      changes: arguments of the network to change, such as shuffle=False.

    Examples:
      >>> model = build("v2-1x")
    """
    return random_network(functools.partial(NETWORKS[name], **changes))


def check_names(names: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the names as given, or all of `NETWORKS` for None.

    Raises:
      UserError: an unknown name.
    """
    return choose("network", names or None, NETWORKS)
