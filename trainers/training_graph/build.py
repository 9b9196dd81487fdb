"""A network's training graph: the same layers and the same weights, in less time on CPUs.

What holds a plain graph back is moving memory, not multiplying (`benchmarks.training_speed`):

- No channel is shuffled. In V1 the kernels behind a shuffle have their rows in the order in which
  the channels come. In V2 a unit's convolutions lay the channels that one later unit will take
  side by side, so that each is split off once and concatenated once.
- 1x1 convolutions are products of matrices, and so are the BatchNormalizations around them where
  that is faster (`normalized_product.py`); the others are the fused operator.
- Widths are multiples of 8, as TensorFlow's CPU kernels want them: the fused BatchNormalization
  takes much longer for 58 channels than for 64. What is added is zero and stays so.

The variables are the Keras model's own: optimizer, checkpoints and files see no difference.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from common.quiet import quiet_stderr
from keras_shufflenet import ChannelShuffle, ShuffleUnit, ShuffleUnitV2
from trainers.training_graph import linear_segments, normalized_product, permuted_tensors
from trainers.training_graph.permuted_tensors import Wire

_UNITS = (ShuffleUnit, ShuffleUnitV2)
# What works on each channel by itself.
_CHANNELWISE = (
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
    keras.layers.ZeroPadding2D,
)


def training_forward(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that computes `model(images, training=True)`, moving statistics included.

    Equal but for the order in which is summed. A network that `chains.split` finds no chains in,
    as one with frozen layers, computes itself.

    Args:
      model: as `trainers.networks.models.build_model` gives it.

    Examples:
      >>> logits = training_forward(model)(images)
    """
    parts = linear_segments.split(model)
    if not parts or any(_starts_within_a_stage(part.layers) for part in parts):
        return functools.partial(model, training=True)
    # oneDNN prints an error where layers move channels' numbers, because these are integers.
    with quiet_stderr():
        steps = [[_step(group) for group in _groups(part.layers)] for part in parts]

    # No branch depends on a tensor; looking for one would take longer than all else.
    @tf.autograph.experimental.do_not_convert
    def forward(images: tf.Tensor) -> tf.Tensor:
        x = _as_it_is(tf.cast(images, model.layers[1].compute_dtype))
        made = {linear_segments.key_of_images(model): x}
        for part, computed in zip(parts, steps, strict=True):
            x = _merge(part.merge, [made[key] for key in part.inputs])
            for step in computed:
                x = step(x)
            made[part.output] = x
        return permuted_tensors.reordered(x)

    return forward


def _starts_within_a_stage(layers: Sequence[keras.layers.Layer]) -> bool:
    """Whether one of V2's units takes what is none's output; its stages start with stride 2."""
    pairs = zip([None, *layers], layers, strict=False)
    return any(_goes_on(layer) and not isinstance(before, ShuffleUnitV2) for before, layer in pairs)


def _goes_on(layer: keras.layers.Layer) -> bool:
    """Whether this is one of V2's units but the first of a stage."""
    return isinstance(layer, ShuffleUnitV2) and layer.stride == 1


def _groups(layers: Sequence[keras.layers.Layer]) -> list[list[keras.layers.Layer]]:
    """Returns the units of V2's stages together, and the layers that lie between units."""
    groups: list[list[keras.layers.Layer]] = []
    for layer in layers:
        plain = not isinstance(layer, _UNITS)
        if _goes_on(layer) or (groups and plain and not isinstance(groups[-1][-1], _UNITS)):
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return groups


def _step(group: Sequence[keras.layers.Layer]) -> Callable[[Wire], Wire]:
    if isinstance(group[0], ShuffleUnitV2):
        return _StageV2(group)
    if isinstance(group[0], ShuffleUnit):
        return functools.partial(_unit_v1, group[0])
    return functools.partial(_path, group)


def _path(layers: Sequence[keras.layers.Layer], x: Wire, order: np.ndarray | None = None) -> Wire:
    """Computes layers one after the other; the last convolution gives its channels in `order`."""
    *_, last = [None, *(layer for layer in layers if permuted_tensors.is_conv(layer))]
    while layers:
        product = normalized_product.find(layers, x.tensor.shape[-1])
        if product is None:
            layer, *layers = layers
            x = _layer(layer, x, order if layer is last else None)
        else:
            x = normalized_product.compute(x, product, order if product.conv is last else None)
            layers = layers[product.length :]
    return x


def _layer(layer: keras.layers.Layer, x: Wire, order: np.ndarray | None) -> Wire:
    """Computes one layer; the order is a convolution's."""
    if permuted_tensors.is_conv(layer):
        return permuted_tensors.conv(x, layer, order)
    if permuted_tensors.is_depthwise(layer):
        return permuted_tensors.depthwise(x, layer)
    if permuted_tensors.is_batch_norm(layer) and len(x.tensor.shape) == 4:
        return permuted_tensors.batch_norm(x, layer)
    if isinstance(layer, ChannelShuffle):
        return permuted_tensors.shuffle(x, layer)
    if isinstance(layer, _CHANNELWISE):
        return Wire(layer(x.tensor), x.order)
    return _as_it_is(layer(permuted_tensors.reordered(x), training=True))


def _merge(layer: keras.layers.Layer | None, inputs: Sequence[Wire]) -> Wire:
    """Computes a layer of several inputs; None: the only one."""
    if layer is None:
        return inputs[0]
    return _as_it_is(layer([permuted_tensors.reordered(x) for x in inputs]))


def _as_it_is(tensor: tf.Tensor) -> Wire:
    return Wire(tensor, np.arange(tensor.shape[-1]))


def _unit_v1(unit: ShuffleUnit, x: Wire) -> Wire:
    """Computes a unit of V1."""
    join, *behind = unit.merge()
    left = _path(unit.shortcut(), x)
    if isinstance(join, keras.layers.Add):
        right = _path(unit.main_path(), x, left.order)
        joined = Wire(left.tensor + permuted_tensors.reordered(right, left.order), left.order)
    else:
        right = _path(unit.main_path(), x)
        shift = np.arange(unit.filters) + left.order.max() + 1
        joined = permuted_tensors.concat([left, permuted_tensors.renumbered(right, shift)])
    return _path(behind, joined)


class _Path(NamedTuple):
    """Layers, the number of the unit that they belong to, and the channels that they make."""

    unit: int
    layers: Sequence[keras.layers.Layer]
    channels: np.ndarray


class _StageV2:
    """The units of one of V2's stages, without their shuffles; a call computes them.

    Every channel that the stage makes has a number.

    Args:
      units: all of a stage's; the first has stride 2, the others stride 1.
    """

    def __init__(self, units: Sequence[ShuffleUnitV2]):
        self._paths: list[_Path] = []
        # By unit, the channels that it takes, in the order of its weights; last: what is left.
        self._taken: list[np.ndarray] = [np.array([], int)]
        first, *others = units
        halves = [self._add(0, path) for path in (first.shortcut(), first.main_path())]
        channels = _merged(first, halves)
        for index, unit in enumerate(others, 1):
            left, right = (np.ravel(half) for half in unit.split(_as_image(channels)))
            self._taken.append(right)
            channels = _merged(unit, [left, self._add(index, unit.main_path())])
        self._taken.append(channels)
        self._taker = np.empty(sum(len(path.channels) for path in self._paths), int)
        for index, channels in enumerate(self._taken):
            self._taker[channels] = index

    def _add(self, unit: int, layers: Sequence[keras.layers.Layer]) -> np.ndarray:
        """Adds a path and returns its channels' numbers."""
        *_, last = (layer for layer in layers if permuted_tensors.is_conv(layer))
        start = sum(len(path.channels) for path in self._paths)
        channels = np.arange(start, start + last.filters)
        self._paths.append(_Path(unit, layers, channels))
        return channels

    def __call__(self, x: Wire) -> Wire:
        """Returns the stage's output for that of what comes before it."""
        made: list[list[Wire]] = [[] for _ in self._taken]
        for unit, layers, channels in self._paths:
            takers = self._taker[channels]
            # The next unit's at the end, with the zeros: it takes the most.
            order = np.argsort(-takers, kind="stable")
            y = _path(layers, self._joined(unit, made) if unit else x, order)
            takers, counts = np.unique(-takers, return_counts=True)
            counts[-1] += len(y.order) - len(order)
            for taker, piece in zip(-takers, permuted_tensors.split(y, counts), strict=True):
                made[taker].append(permuted_tensors.renumbered(piece, channels))
        return self._joined(-1, made)

    def _joined(self, index: int, made: list[list[Wire]]) -> Wire:
        """Returns what was made for a unit, its channels numbered as its weights know them."""
        taken = self._taken[index]
        places = np.empty(len(self._taker), int)
        places[taken] = np.arange(len(taken))
        return permuted_tensors.renumbered(permuted_tensors.concat(made[index]), places)


def _merged(unit: ShuffleUnitV2, halves: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the channels of two paths as the unit's own layers merge them."""
    x = [_as_image(half) for half in halves]
    for layer in unit.merge():
        x = layer(x)
    return np.ravel(x)


def _as_image(channels: np.ndarray) -> np.ndarray:
    return channels.reshape(1, 1, 1, -1)
