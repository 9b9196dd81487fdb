"""A network's training graph: the same layers and the same weights, but faster on CPUs.

A plain graph spends its time moving memory, not multiplying (`benchmarks.training_speed`):

- No channel is shuffled. In V1 the rows of the kernels after a shuffle are reordered to match the
  order of the channels. In V2 a unit's convolutions put the channels that the same later unit
  uses next to each other (`stage_routes`), so that each is split off once and concatenated once.
- 1x1 convolutions are products of matrices, with the BatchNormalizations around them folded in if
  that is faster (`normalized_product.py`); other BatchNormalizations are the fused operator.
- Widths are multiples of 8, which suits TensorFlow's CPU kernels: the fused BatchNormalization
  takes much longer for 58 channels than for 64. The added channels are zero and stay zero.

The variables are the Keras model's own: optimizer, checkpoints and files see no difference.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_shufflenet import ChannelShuffle, ShuffleUnit, ShuffleUnitV2
from keras_shufflenet.permutations import PermutedTensor
from keras_shufflenet.stage_routes import stage_routes
from trainers.training_graph import linear_segments, normalized_product, permuted_tensors

_UNITS = (ShuffleUnit, ShuffleUnitV2)
# Layers that work on each channel separately.
_CHANNELWISE = (
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
    keras.layers.ZeroPadding2D,
)


def training_forward(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that computes `model(images, training=True)`, with moving statistics.

    The result is equal except for the order of sums. If `linear_segments.split` finds no segments,
    for example because layers are frozen, the function calls the model itself.

    Args:
      model: from `trainers.networks.models.build_model`.

    Examples:
      >>> logits = training_forward(model)(images)
    """
    segments = linear_segments.split(model)
    if not segments or any(_starts_within_a_stage(segment.layers) for segment in segments):
        return functools.partial(model, training=True)
    steps = [[_step(group) for group in _groups(segment.layers)] for segment in segments]

    # No branch depends on a tensor, and AutoGraph's search for one would take longer than the rest.
    @tf.autograph.experimental.do_not_convert
    def forward(images: tf.Tensor) -> tf.Tensor:
        x = _as_it_is(tf.cast(images, model.layers[1].compute_dtype))
        made = {linear_segments.key_of_images(model): x}
        for segment, computed in zip(segments, steps, strict=True):
            x = _merge(segment.merge, [made[key] for key in segment.inputs])
            for step in computed:
                x = step(x)
            made[segment.output] = x
        return permuted_tensors.reordered(x)

    return forward


def _starts_within_a_stage(layers: Sequence[keras.layers.Layer]) -> bool:
    """Returns whether a stride-1 unit of V2 does not follow another unit of V2.

    Stages start with a unit of stride 2.
    """
    pairs = zip([None, *layers], layers, strict=False)
    return any(_goes_on(layer) and not isinstance(before, ShuffleUnitV2) for before, layer in pairs)


def _goes_on(layer: keras.layers.Layer) -> bool:
    """Returns whether this is a unit of V2, but not the first of its stage."""
    return isinstance(layer, ShuffleUnitV2) and layer.stride == 1


def _groups(layers: Sequence[keras.layers.Layer]) -> list[list[keras.layers.Layer]]:
    """Returns groups: the units of each stage of V2, and the layers between units."""
    groups: list[list[keras.layers.Layer]] = []
    for layer in layers:
        plain = not isinstance(layer, _UNITS)
        if _goes_on(layer) or (groups and plain and not isinstance(groups[-1][-1], _UNITS)):
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return groups


def _step(group: Sequence[keras.layers.Layer]) -> Callable[[PermutedTensor], PermutedTensor]:
    if isinstance(group[0], ShuffleUnitV2):
        return _StageV2(group)
    if isinstance(group[0], ShuffleUnit):
        return functools.partial(_unit_v1, group[0])
    return functools.partial(_path, group)


def _path(
    layers: Sequence[keras.layers.Layer], x: PermutedTensor, order: np.ndarray | None = None
) -> PermutedTensor:
    """Computes layers one after another; the last convolution returns its channels in `order`."""
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


def _layer(
    layer: keras.layers.Layer, x: PermutedTensor, order: np.ndarray | None
) -> PermutedTensor:
    """Computes one layer; only a convolution uses the order."""
    if permuted_tensors.is_conv(layer):
        return permuted_tensors.conv(x, layer, order)
    if permuted_tensors.is_depthwise(layer):
        return permuted_tensors.depthwise(x, layer)
    if permuted_tensors.is_batch_norm(layer) and len(x.tensor.shape) == 4:
        return permuted_tensors.batch_norm(x, layer)
    if isinstance(layer, ChannelShuffle):
        return x.shuffled(layer.groups)
    if isinstance(layer, _CHANNELWISE):
        return PermutedTensor(layer(x.tensor), x.order)
    return _as_it_is(layer(permuted_tensors.reordered(x), training=True))


def _merge(layer: keras.layers.Layer | None, inputs: Sequence[PermutedTensor]) -> PermutedTensor:
    """Computes a layer with several inputs; None: returns the only input."""
    if layer is None:
        return inputs[0]
    return _as_it_is(layer([permuted_tensors.reordered(x) for x in inputs]))


def _as_it_is(tensor: tf.Tensor) -> PermutedTensor:
    return PermutedTensor(tensor, np.arange(tensor.shape[-1]))


def _unit_v1(unit: ShuffleUnit, x: PermutedTensor) -> PermutedTensor:
    """Computes one unit of V1."""
    join, *rest = unit.merge()
    left = _path(unit.shortcut(), x)
    if isinstance(join, keras.layers.Add):
        right = _path(unit.main_path(), x, left.order)
        joined = PermutedTensor(
            left.tensor + permuted_tensors.reordered(right, left.order), left.order
        )
    else:
        right = _path(unit.main_path(), x)
        joined = permuted_tensors.concat([left, right.shifted(left.order.max() + 1)])
    return _path(rest, joined)


class _StageV2:
    """Computes the units of one stage of V2, without their shuffles.

    Args:
      units: all units of a stage; the first has stride 2, the others stride 1.
    """

    def __init__(self, units: Sequence[ShuffleUnitV2]):
        # For each path: the unit that it belongs to, and its layers.
        self._paths = [(0, units[0].shortcut()), *enumerate(unit.main_path() for unit in units)]
        self._routes = stage_routes(units)

    def __call__(self, x: PermutedTensor) -> PermutedTensor:
        """Returns the stage's output for its input."""
        # By index of the unit that uses them; last: the stage's output.
        waiting: dict[int, list[PermutedTensor]] = defaultdict(list)
        for (unit, layers), route in zip(self._paths, self._routes, strict=True):
            # The next unit's channels come last, with the zeros, because it uses the most channels.
            order = np.argsort(-route.takers, kind="stable")
            taken = permuted_tensors.concat(waiting[unit]) if unit else x
            y = _path(layers, taken, order)
            takers, sizes = np.unique(-route.takers, return_counts=True)
            sizes[-1] += y.channels - len(order)
            for taker, piece in zip(-takers, permuted_tensors.split(y, sizes), strict=True):
                waiting[taker].append(piece.renumbered(route.numbers))
        return permuted_tensors.concat(waiting[len(self._routes) - 1])
