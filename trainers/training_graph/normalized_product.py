"""A 1x1 convolution and the BatchNormalizations around it, as one product of matrices.

BatchNormalization and its gradient read or write all pixels about ten times, which on CPUs takes
longer than the convolutions. A product needs none of these passes: the mean and variance of its
output follow from those of its input. They are known before the product is computed, so the
normalization is folded into its matrix (`batch_norm_fold.py`) and a bias, which TensorFlow adds in
the same operator, like a ReLU.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_shufflenet.permutations import PermutedTensor
from trainers.training_graph import permuted_tensors
from trainers.training_graph.batch_norm_fold import Fold, moments

# The covariance of c channels takes c * c multiply-adds per pixel, and as many in its gradient.
# BatchNormalization's passes over each output channel take as long as this many multiply-adds.
_MACS_PER_CHANNEL = 96
# A larger convolution is also computed as a product if its kernel covers few numbers, such as the
# stem's 27; this many at most.
_MOST_COLUMNS = 32
# The number of outputs for which TensorFlow is fast at summing products of pixels and gradients.
_WIDTH = 256
_PRECISIONS = ("float32", "float64")


class _Relu(NamedTuple):
    """A ReLU, and its gradient as an operator."""

    function: Callable[[tf.Tensor], tf.Tensor]
    gradient: Callable[..., tf.Tensor]


# By the ReLU's maximum value.
_RELUS = {
    None: _Relu(tf.nn.relu, tf.raw_ops.ReluGrad),
    6: _Relu(tf.nn.relu6, tf.raw_ops.Relu6Grad),
}


class Product(NamedTuple):
    """Consecutive layers that `compute` computes together.

    Attributes:
      before: normalizes the input, or None.
      conv: of any kernel size.
      after: normalizes the convolution's output.
      relu: the ReLU after that, or None.
    """

    before: keras.layers.BatchNormalization | None
    conv: keras.layers.Conv2D
    after: keras.layers.BatchNormalization
    relu: keras.layers.ReLU | None

    @property
    def length(self) -> int:
        """The number of these layers."""
        return sum(layer is not None for layer in self)


def find(layers: Sequence[keras.layers.Layer], channels: int) -> Product | None:
    """Returns the product at the start of `layers`, if there is one and it saves time.

    Args:
      layers: consecutive layers.
      channels: number of channels of the first layer's input.
    """
    before, *rest = layers if permuted_tensors.is_batch_norm(layers[0]) else (None, *layers)
    if len(rest) < 2 or not (
        permuted_tensors.is_conv(rest[0]) and permuted_tensors.is_batch_norm(rest[1])
    ):
        return None
    conv, after, *more = rest
    relu = more[0] if more and _is_relu(more[0]) else None
    if conv.compute_dtype not in _PRECISIONS:
        return None
    if permuted_tensors.is_pointwise(conv):
        pays = channels**2 <= _MACS_PER_CHANNEL * conv.filters
    else:
        # `before` does not normalize the zeros around the image.
        pays = before is None and _columns(conv, channels) <= _MOST_COLUMNS
    return Product(before, conv, after, relu) if pays else None


def _is_relu(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.ReLU):
        return False
    return layer.max_value in _RELUS and not layer.negative_slope and not layer.threshold


def _columns(conv: keras.layers.Conv2D, channels: int) -> int:
    height, width = conv.kernel_size
    return height * width * channels


def compute(x: PermutedTensor, product: Product, order: np.ndarray | None = None) -> PermutedTensor:
    """Returns the last layer's output for the input of the first, and updates moving statistics.

    Args:
      x: float32 or float64.
      product: what `find` returned for the layers after `x`.
      order: as in `permuted_tensors.conv`.
    """
    before, conv, after, relu = product
    kernel, order = permuted_tensors.kernel(conv, x.order, order)
    image = x.tensor if permuted_tensors.is_pointwise(conv) else _windows(x.tensor, conv)
    pixels, matrix = (permuted_tensors.flat(tensor) for tensor in (image, kernel))
    norms = [(after, order)] if before is None else [(after, order), (before, x.order)]
    learnt = [tensor for norm in norms for tensor in permuted_tensors.scale_and_shift(*norm)]
    fold = Fold([norm.epsilon for norm, _ in norms])
    seen = moments(pixels, after.synchronized)
    known_relu = None if relu is None else _RELUS[relu.max_value]
    y = _product(fold, known_relu, pixels, *seen, matrix, *learnt)
    for norm, statistics in zip(norms, fold.statistics, strict=True):
        permuted_tensors.keep(*norm, *statistics)
    return PermutedTensor(permuted_tensors.shaped(y, image), order)


def _product(fold: Fold, relu: _Relu | None, *arguments: tf.Tensor) -> tf.Tensor:
    """Returns pixels @ matrix + bias, after the ReLU if there is one.

    Args:
      fold: computes matrix and bias.
      relu: the ReLU, or None.
      arguments: the pixels, and the fold's arguments.
    """

    # One custom gradient for everything, because tracing each takes milliseconds.
    @tf.custom_gradient
    def forward(pixels: tf.Tensor, *folded: tf.Tensor) -> tuple:
        matrix, bias = fold.forward(*folded)
        # TensorFlow's graph optimization merges these three into one operator.
        y = tf.nn.bias_add(tf.matmul(pixels, matrix), bias)
        y = y if relu is None else relu.function(y)

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            if relu is not None:
                upstream = relu.gradient(gradients=upstream, features=y)
            bias = tf.raw_ops.BiasAddGrad(out_backprop=upstream)
            return [
                tf.matmul(upstream, matrix, transpose_b=True),
                *fold.gradient(_sum_of_products(pixels, upstream), bias),
            ]

        return y, gradient

    return forward(*arguments)


def _sum_of_products(pixels: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of a matrix, [channels, outputs]."""
    *whole, rest = range(0, gradients.shape[-1], _WIDTH)
    if not whole:
        return tf.matmul(pixels, gradients, transpose_a=True)
    # On a CPU, a wide matrix takes half the time if it is computed in pieces.
    pieces = tf.split(gradients, [_WIDTH] * len(whole) + [gradients.shape[-1] - rest], axis=1)
    return tf.concat([tf.matmul(pixels, piece, transpose_a=True) for piece in pieces], 1)


def _windows(image: tf.Tensor, conv: keras.layers.Conv2D) -> tf.Tensor:
    """Returns the input numbers under the kernel at each place, [batch, height, width, columns]."""
    columns = _columns(conv, image.shape[-1])
    # A convolution copies them, because strided slices take four times as long.
    shape = (*conv.kernel_size, image.shape[-1], columns)
    each = tf.reshape(tf.eye(columns, dtype=image.dtype), shape)
    return tf.nn.conv2d(image, each, conv.strides, conv.padding.upper())
