"""The all-reduce volume of a training: what its workers send each other in every step."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import tensorflow as tf

from trainers.distribution.strategy import synchronize_batch_norms
from trainers.training_graph.build import training_forward

# Only traced, not computed: what is all-reduced does not depend on the number of images.
_BATCH = 2


@dataclass(frozen=True)
class Traffic:
    """What one worker contributes to all-reduces in a step.

    Attributes:
      gradients: bytes of the gradients of all weights, in float32.
      statistics: bytes of the synchronized BatchNormalizations' sums and of their gradients.
      reductions: number of all-reduces of these statistics, one after the other; the gradients go
        into one more.
    """

    gradients: int
    statistics: int
    reductions: int

    def bytes_sent(self, workers: int) -> float:
        """Returns the bytes that a worker sends (and receives) in a step, 2 (n - 1) / n of all."""
        return 2 * (workers - 1) / workers * (self.gradients + self.statistics)


def images_per_second(counted: Traffic, workers: int, batch_size: int, gigabits: float) -> float:
    """Returns the images/s of a worker that computes as long as it sends.

    Args:
      counted: all-reduce volume of a step.
      workers: number of workers.
      batch_size: images per step and worker.
      gigabits: speed of a worker's link in Gb/s, each way.
    """
    return batch_size * gigabits * 1e9 / (8 * counted.bytes_sent(workers))


def traffic(model: keras.Model) -> Traffic:
    """Counts what the training graph of a network all-reduces over the workers.

    Args:
      model: the network, with a fixed input size.
    """
    synchronize_batch_norms(model, True)
    forward = training_forward(model)

    @tf.function(input_signature=[tf.TensorSpec([_BATCH, *model.input_shape[1:]], tf.float32)])
    def step(images: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(forward(images))
        return tape.gradient(loss, model.trainable_variables)

    with _reduced_sizes() as sizes:
        gradients = step.get_concrete_function().structured_outputs
    weights = sum(gradient.dtype.size * math.prod(gradient.shape) for gradient in gradients)
    return Traffic(weights, sum(sizes), len(sizes))


@contextlib.contextmanager
def _reduced_sizes() -> Iterator[list[int]]:
    """Yields a list that collects the bytes of each tensor that is all-reduced in the block."""
    sizes: list[int] = []
    all_reduce = tf.distribute.ReplicaContext.all_reduce

    def counted(self: tf.distribute.ReplicaContext, operation: object, value: object) -> object:
        # Gradients come in a list of one.
        for tensor in tf.nest.flatten(value):
            sizes.append(tensor.dtype.size * math.prod(tensor.shape))
        return all_reduce(self, operation, value)

    tf.distribute.ReplicaContext.all_reduce = counted
    try:
        yield sizes
    finally:
        tf.distribute.ReplicaContext.all_reduce = all_reduce
