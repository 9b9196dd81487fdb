"""Averages at a training's end: a moving average of the weights, BatchNorm's statistics again."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from trainers.distribution.strategy import batch_norms


class WeightAverage(tf.Module):
    """An exponential moving average of all weights, including BatchNorm's statistics.

    Create it in the strategy's scope. Each step keeps min(decay, (1 + step) / (10 + step)) of the
    average, like tf.train.ExponentialMovingAverage, so that the random initial weights soon have
    no effect.

    Args:
      model: the model whose weights are averaged.
      decay: share of the average that is kept at each step, in (0, 1).

    Attributes:
      shadows: the averages, in the order of the model's floating-point weights.

    Examples:
      >>> with average.swapped():
      ...     save_model(model, "averaged.keras")
    """

    def __init__(self, model: keras.Model, decay: float):
        super().__init__()
        self._decay = decay
        self._strategy = tf.distribute.get_strategy()
        self._weights = [
            weight.value for weight in model.weights if tf.as_dtype(weight.dtype).is_floating
        ]
        self.shadows = [tf.Variable(weight, trainable=False) for weight in self._weights]

    def reset(self) -> None:
        """Makes the average equal to the weights."""
        for shadow, weight in zip(self.shadows, self._weights, strict=True):
            shadow.assign(weight)

    def update(self, step: tf.Tensor) -> None:
        """Adds the weights after `step` steps to the average; for use in a tf.function."""
        step = tf.cast(step, tf.float32)
        change = 1 - tf.minimum(self._decay, (1 + step) / (10 + step))

        def update(shadow: tf.Variable, weight: tf.Variable) -> None:
            shadow.assign_sub(tf.cast(change, shadow.dtype) * (shadow - weight))

        self._on_each(update)

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """In the block, the model has the averaged weights; changes to them change the average."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @tf.function(autograph=False)
    def _exchange(self) -> None:
        # In one graph, so that Ctrl-C cannot interrupt between two weights.
        def exchange(shadow: tf.Variable, weight: tf.Variable) -> None:
            averaged = tf.identity(shadow)
            shadow.assign(weight)
            weight.assign(averaged)

        self._on_each(exchange)

    def _on_each(self, function: Callable[[tf.Variable, tf.Variable], None]) -> None:
        for shadow, weight in zip(self.shadows, self._weights, strict=True):
            # Each device updates its own copy, and all copies stay equal.
            self._strategy.extended.update(shadow, function, args=(weight,))


class BatchNormStatistics:
    """BatchNorm's moving statistics, estimated again with the present weights.

    The moving statistics of a training lag behind its weights: at its start so much that a network
    which learns well is evaluated as useless.

    Args:
      model: the network.
      strategy: where it runs.

    Examples:
      >>> with BatchNormStatistics(model, strategy).fitted(batches):
      ...     evaluate(model)
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy):
        self._model, self._strategy = model, strategy
        self._norms = batch_norms(model)
        self._statistics = [
            value for layer in self._norms for value in (layer.moving_mean, layer.moving_variance)
        ]

    def reestimate(
        self, batches: Iterable[tuple], check: Callable[[], None] = lambda: None
    ) -> None:
        """Replaces the moving statistics with the mean of the statistics of `batches`.

        The papers' code does this at the end. The previous statistics have no effect.

        Args:
          batches: distributed batches, the images first.
          check: called before each batch; if it raises, the statistics are incomplete.
        """
        momenta = [layer.momentum for layer in self._norms]
        sums, count = [np.float64(0)] * len(self._statistics), 0
        try:
            for layer in self._norms:
                # The moving statistics are then those of the batch.
                layer.momentum = 0.0
            for batch in batches:
                check()
                self._forward(batch)
                values = (value.numpy() for value in self._statistics)
                sums = [s + value for s, value in zip(sums, values, strict=True)]
                count += 1
        finally:
            for layer, momentum in zip(self._norms, momenta, strict=True):
                layer.momentum = momentum
        for value, total in zip(self._statistics, sums, strict=True):
            value.assign(total / count)

    @contextlib.contextmanager
    def fitted(
        self, batches: Iterable[tuple], check: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """In the block, the statistics are those of `batches`; after it, the previous ones."""
        previous = [value.numpy() for value in self._statistics]
        try:
            self.reestimate(batches, check)
            yield
        finally:
            for value, before in zip(self._statistics, previous, strict=True):
                value.assign(before)

    # Always traced and called with a momentum of 0.
    @tf.function(autograph=False)
    def _forward(self, batch: tuple) -> None:
        self._strategy.run(
            lambda images, *unused_rest: self._model(images, training=True), args=batch
        )
