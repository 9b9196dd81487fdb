"""BatchNormalizations before and after a matrix product, folded into its matrix, with gradient.

If pixels x have mean m and covariance C, the product x W has the mean m W, and its variances are
the diagonal of W' C W. A BatchNormalization of the product multiplies W by its scale and adds a
bias that follows from these. A BatchNormalization of the pixels multiplies the rows of W by its
scale; what it adds is the same for every pixel, and the normalization of the product removes it.

The gradient is written by hand. TensorFlow would derive it with many more operators. These are
small, but a network has thousands, and tracing and optimizing them takes seconds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from trainers.distribution.strategy import sum_over_devices
from trainers.training_graph.constants import shared


class Statistics(NamedTuple):
    """The batch statistics that a BatchNormalization uses, [channels] each."""

    mean: tf.Tensor
    variance: tf.Tensor


def moments(pixels: tf.Tensor, synchronized: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the means over pixels of the channels, and of the products of each two channels.

    Args:
      pixels: float32 or float64 [n, channels].
      synchronized: use the pixels of all devices; then call it in a replica.

    Returns:
      [1, channels] and [channels, channels]. The gradient of the second considers only one factor
      of the products, although both are the same pixel, so the caller must pass it doubled.
    """

    def averages(sums: tf.Tensor, products: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # A tensor only if the static shape is not known, because that takes six operators.
        count = pixels.shape[0] or tf.shape(pixels)[0]
        if synchronized:
            both, count = sum_over_devices(tf.concat([sums, products], 0), count)
            sums, products = tf.split(both, [1, products.shape[-1]])
        elif isinstance(count, int):
            count = shared(count, sums.dtype)
        else:
            count = tf.cast(count, sums.dtype)
        return sums / count, products / count

    @tf.custom_gradient
    def forward(pixels: tf.Tensor) -> tuple:
        def gradient(mean: tf.Tensor, products: tf.Tensor) -> tf.Tensor:
            mean, products = averages(mean, products)
            return tf.nn.bias_add(tf.matmul(pixels, products), tf.squeeze(mean, 0))

        sums = _row(tf.raw_ops.BiasAddGrad(out_backprop=pixels))
        return averages(sums, tf.matmul(pixels, pixels, transpose_a=True)), gradient

    return forward(pixels)


def _row(vector: tf.Tensor) -> tf.Tensor:
    return tf.expand_dims(vector, shared(0, tf.int32))


def _column(vector: tf.Tensor) -> tf.Tensor:
    return tf.expand_dims(vector, shared(1, tf.int32))


def _sum(matrix: tf.Tensor, axis: int) -> tf.Tensor:
    return tf.reduce_sum(matrix, shared(axis, tf.int32))


class _Scale:
    """The factor of a normalization, gamma / sqrt(variance + epsilon)."""

    def __init__(self, gamma: tf.Tensor, variance: tf.Tensor, epsilon: float):
        self._inverse = tf.math.rsqrt(variance + shared(epsilon, variance.dtype))
        self.value = gamma * self._inverse

    def gradient(self, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the gradient of gamma, and -2 times that of the variance."""
        gamma = upstream * self._inverse
        return gamma, gamma * self.value * self._inverse


class Fold:
    """Computes the matrix and the bias of a product with its normalizations folded in. Use it once.

    Args:
      epsilons: the values that are added to the variance by the BatchNormalization of the product,
        and by that of the pixels, if there is one.

    Attributes:
      statistics: the batch statistics of each normalization, after `forward` was called. They are
        for the moving statistics and have no gradient.
    """

    def __init__(self, epsilons: Sequence[float]):
        self._epsilons = epsilons
        self.statistics: list[Statistics] = []

    def forward(
        self,
        mean: tf.Tensor,
        products: tf.Tensor,
        kernel: tf.Tensor,
        gamma: tf.Tensor,
        beta: tf.Tensor,
        *before: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the matrix and the bias.

        Args:
          mean, products: the pixels' `moments`.
          kernel: [channels, outputs].
          gamma, beta: [outputs].
          before: gamma and beta of the pixels' normalization, [channels] each.

        Returns:
          [channels, outputs] and [outputs].
        """
        self._mean, self._kernel, self._has_before = mean, kernel, bool(before)
        covariance = products - tf.matmul(mean, mean, transpose_a=True)
        if before:
            seen = Statistics(tf.squeeze(mean, 0), tf.raw_ops.MatrixDiagPart(input=covariance))
            self._rows = _Scale(before[0], seen.variance, self._epsilons[1])
            kernel *= _column(self._rows.value)
        self._scaled, self._covaried = kernel, tf.matmul(covariance, kernel)
        mean = tf.squeeze(tf.matmul(mean, kernel), 0)
        # If all pixels are the same, rounding can make it negative.
        variance = tf.maximum(_sum(kernel * self._covaried, 0), shared(0, kernel.dtype))
        self._columns = _Scale(gamma, variance, self._epsilons[0])
        self.statistics = [Statistics(mean, variance)]
        if before:
            # Normalized pixels have the mean beta.
            made = tf.squeeze(tf.matmul(_row(before[1]), self._kernel), 0)
            self.statistics = [Statistics(made, variance), seen]
        scale = self._columns.value
        return kernel * scale, beta - mean * scale

    def gradient(self, matrix: tf.Tensor, bias: tf.Tensor) -> list[tf.Tensor]:
        """Returns the gradients of `forward`'s arguments from those of the matrix and the bias."""
        row = _row(bias)
        centred = matrix - tf.matmul(self._mean, row, transpose_a=True)
        gamma, variance = self._columns.gradient(_sum(self._scaled * centred, 0))
        kernel = centred * self._columns.value - self._covaried * variance
        # Doubled, as `moments` needs it.
        products = -tf.matmul(self._scaled * variance, self._scaled, transpose_b=True)
        learnt = [gamma, bias]
        if self._has_before:
            gamma, variance = self._rows.gradient(_sum(kernel * self._kernel, 1))
            kernel *= _column(self._rows.value)
            products -= tf.raw_ops.MatrixDiag(diagonal=variance)
            learnt += [gamma, tf.zeros_like(gamma)]
        mean = -tf.matmul(row * self._columns.value, self._scaled, transpose_b=True)
        return [mean - tf.matmul(self._mean, products), products, kernel, *learnt]
