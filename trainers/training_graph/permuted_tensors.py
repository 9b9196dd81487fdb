"""Layers of a Keras model, computed on permuted tensors: their channels are in another order.

The training graph consists of these functions. Each uses the layer's own variables, so that
gradients and moving statistics go where the layer itself would put them.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_shufflenet import permutations
from keras_shufflenet.layers import ungrouped_kernel
from keras_shufflenet.permutations import ABSENT, PermutedTensor
from trainers.distribution.strategy import moments_over_devices
from trainers.training_graph.constants import shared

# The number of floats that a CPU's vector instructions process at once in TensorFlow's kernels.
_VECTOR = 8


def is_conv(layer: keras.layers.Layer) -> bool:
    """Returns whether `conv` can compute the layer."""
    if not isinstance(layer, keras.layers.Conv2D) or not _is_plain(layer):
        return False
    return layer.groups == 1 or layer.kernel_size == (1, 1)


def is_depthwise(layer: keras.layers.Layer) -> bool:
    """Returns whether `depthwise` can compute the layer."""
    is_one = isinstance(layer, keras.layers.DepthwiseConv2D)
    return is_one and _is_plain(layer) and layer.depth_multiplier == 1


def is_batch_norm(layer: keras.layers.Layer) -> bool:
    """Returns whether `batch_norm` can compute the layer."""
    if not isinstance(layer, keras.layers.BatchNormalization) or layer.renorm:
        return False
    return layer.scale and layer.center and layer.axis in (-1, 3)


def _is_plain(layer: keras.layers.Layer) -> bool:
    is_linear = layer.activation in (None, keras.activations.linear)
    return is_linear and not layer.use_bias and tuple(layer.dilation_rate) == (1, 1)


def is_pointwise(layer: keras.layers.Conv2D) -> bool:
    """Returns whether the convolution is a product of matrices."""
    return layer.kernel_size == layer.strides == (1, 1)


def conv(
    x: PermutedTensor, layer: keras.layers.Conv2D, order: np.ndarray | None = None
) -> PermutedTensor:
    """Returns a convolution without bias.

    Args:
      x: its input.
      layer: Conv2D; with groups it must be 1x1.
      order: of the output channels, and -1 for a channel of zeros; None: the layer's own order.
    """
    weights, order = kernel(layer, x.order, order)
    if not is_pointwise(layer):
        return PermutedTensor(
            tf.nn.conv2d(x.tensor, weights, layer.strides, layer.padding.upper()), order
        )
    # In two dimensions, because with four it would be one product for every row of every image.
    pixels = tf.matmul(flat(x.tensor), flat(weights))
    return PermutedTensor(shaped(pixels, x.tensor), order)


def kernel(
    layer: keras.layers.Conv2D, rows: np.ndarray, order: np.ndarray | None = None
) -> tuple[tf.Tensor, np.ndarray]:
    """Returns a convolution's kernel, ungrouped, and the order of its output channels.

    Args:
      layer: as in `conv`.
      rows: order of the input channels.
      order: as in `conv`.

    Returns:
      [height, width, rows, channels], and int [channels], a multiple of the vector's length.
    """
    order = permutations.padded(np.arange(layer.filters) if order is None else order, _VECTOR)
    weights = tf.cast(layer.kernel.value, layer.compute_dtype)
    if layer.groups > 1:
        weights = ungrouped_kernel(weights, layer.groups)
    return select(select(weights, rows, 2), order, 3), order


def flat(image: tf.Tensor) -> tf.Tensor:
    """Returns an image's pixels, [n, channels]."""
    return tf.reshape(image, shared((-1, image.shape[-1]), tf.int32))


def shaped(pixels: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns pixels, [n, channels], as an image with the (static) height and width of `image`."""
    return tf.reshape(pixels, shared((-1, *image.shape[1:-1], pixels.shape[-1]), tf.int32))


def depthwise(x: PermutedTensor, layer: keras.layers.DepthwiseConv2D) -> PermutedTensor:
    """Returns a depthwise convolution without bias; the channels keep their order."""
    kernel = select(tf.cast(layer.kernel.value, layer.compute_dtype), x.order, 2)
    # The raw operator, because tf.nn's function adds a dozen operators to check for dilations.
    y = tf.raw_ops.DepthwiseConv2dNative(
        input=x.tensor,
        filter=kernel,
        strides=[1, *layer.strides, 1],
        padding=layer.padding.upper(),
    )
    return PermutedTensor(y, x.order)


def batch_norm(x: PermutedTensor, layer: keras.layers.BatchNormalization) -> PermutedTensor:
    """Returns the batch normalized with its own statistics, and updates the moving statistics."""
    # As in Keras, because sums in half precision would overflow.
    tensor = tf.cast(x.tensor, keras.backend.result_type(x.tensor.dtype, "float32"))
    # The fused operator does not support double precision, nor several devices.
    if layer.synchronized or tensor.dtype == tf.float64:
        mean, variance = moments_over_devices(tensor)
        keep(layer, x.order, mean, variance)
        gamma, beta = scale_and_shift(layer, x.order)
        scale = gamma * tf.math.rsqrt(variance + layer.epsilon)
        y = tensor * scale + (beta - mean * scale)
    else:
        gamma, beta = scale_and_shift(layer, x.order)
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            tensor, gamma, beta, epsilon=layer.epsilon, is_training=True
        )
        # The operator estimates the population's variance, but Keras keeps the batch's.
        count = tf.cast(tf.reduce_prod(tf.shape(tensor)[:3]), tf.float32)
        keep(layer, x.order, mean, variance * (count - 1) / count)
    return PermutedTensor(tf.cast(y, layer.compute_dtype), x.order)


def scale_and_shift(
    layer: keras.layers.BatchNormalization, order: np.ndarray
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns gamma and beta in the given channel order, [channels] each."""
    return select(layer.gamma.value, order, 0), select(layer.beta.value, order, 0)


def keep(
    layer: keras.layers.BatchNormalization, order: np.ndarray, mean: tf.Tensor, variance: tf.Tensor
) -> None:
    """Updates the moving statistics.

    Args:
      layer: the layer that has them.
      order: of the channels.
      mean, variance: of the batch, [channels].
    """
    for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        change = moving.value - reordered(PermutedTensor(new, order))
        moving.value.assign_sub(change * shared(1 - layer.momentum, change.dtype))


def concat(pieces: Sequence[PermutedTensor]) -> PermutedTensor:
    """Returns the concatenated tensors, with zeros at the end that fill the last vector."""
    tensors = [piece.tensor for piece in pieces]
    order = np.concatenate([piece.order for piece in pieces])
    if missing := -len(order) % _VECTOR:
        shape = tf.concat([tf.shape(tensors[0])[:-1], [missing]], 0)
        tensors.append(tf.zeros(shape, tensors[0].dtype))
    tensor = tf.concat(tensors, -1) if len(tensors) > 1 else tensors[0]
    return PermutedTensor(tensor, permutations.padded(order, _VECTOR))


def split(x: PermutedTensor, sizes: Sequence[int]) -> list[PermutedTensor]:
    """Returns the tensor split into pieces with these numbers of channels."""
    if len(sizes) == 1:
        return [x]
    tensors, orders = tf.split(x.tensor, sizes, -1), permutations.split(x.order, sizes)
    return [PermutedTensor(*piece) for piece in zip(tensors, orders, strict=True)]


def reordered(x: PermutedTensor, order: np.ndarray | None = None) -> tf.Tensor:
    """Returns the tensor with its channels in another order; None: the model's own order."""
    order = np.arange(x.order.max() + 1) if order is None else order
    if np.array_equal(order, x.order):
        return x.tensor
    positions = permutations.compose(permutations.inverse(x.order), order)
    return select(x.tensor, positions, len(x.tensor.shape) - 1)


def select(values: tf.Tensor, order: np.ndarray, axis: int) -> tf.Tensor:
    """Returns entries of one axis in an order, each of them at most once; zeros for -1.

    Its gradient selects in the inverse order; tf.gather's own gradient would be a sum over indices.
    """
    size = values.shape[axis]
    if np.array_equal(order, np.arange(size)):
        return values
    back = permutations.inverse(order, size)

    @tf.custom_gradient
    def forward(values: tf.Tensor) -> tuple:
        return _gather(values, order, axis), lambda gradient: _gather(gradient, back, axis)

    return forward(values)


def _gather(values: tf.Tensor, order: np.ndarray, axis: int) -> tf.Tensor:
    size, absent = values.shape[axis], np.count_nonzero(order == ABSENT)
    if np.array_equal(order[: len(order) - absent], np.arange(size)):
        return _append_zeros(values, absent, axis)
    if absent:
        values = _append_zeros(values, 1, axis)
    return tf.gather(values, np.where(order == ABSENT, size, order), axis=shared(axis, tf.int32))


def _append_zeros(values: tf.Tensor, count: int, axis: int) -> tf.Tensor:
    pads = np.zeros((len(values.shape), 2), int)
    pads[axis, 1] = count
    return tf.pad(values, pads)
