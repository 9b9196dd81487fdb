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


def reestimate_batch_norms(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    batches: Iterable[tuple],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Replaces BatchNorm's moving statistics with the mean of the statistics of `batches`.

    The papers' code does this at the end, because the moving statistics of a training lag behind
    its weights. The previous statistics have no effect.

    Args:
      model: the network.
      strategy: where it runs.
      batches: distributed batches, the images first.
      check: called before each batch; if it raises, the statistics are incomplete.
    """
    norms = batch_norms(model)
    momenta = [layer.momentum for layer in norms]
    statistics = [value for layer in norms for value in (layer.moving_mean, layer.moving_variance)]

    @tf.function(autograph=False)
    def forward(batch: tuple) -> None:
        strategy.run(lambda images, *unused_rest: model(images, training=True), args=batch)

    sums, count = [np.float64(0)] * len(statistics), 0
    try:
        for layer in norms:
            # The moving statistics are then those of the batch.
            layer.momentum = 0.0
        for batch in batches:
            check()
            forward(batch)
            sums = [s + value.numpy() for s, value in zip(sums, statistics, strict=True)]
            count += 1
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
    for value, total in zip(statistics, sums, strict=True):
        value.assign(total / count)
