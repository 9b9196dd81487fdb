"""Accuracy: what is counted per batch, and the scores computed from it."""

import dataclasses
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from trainers.data.class_names import shows_top5

Counts = dict[str, tf.Tensor]
TOP = 5


@dataclasses.dataclass(frozen=True)
class Scores:
    """How well a model does on a split.

    Attributes:
      top1, top5: shares of images whose class is the first guess, or among the first five.
      loss: mean cross-entropy, natural logarithm.
      images: how many images were counted.
      confusion: int64 [classes, classes], images by true class (row) and guess (column).
    """

    top1: float
    top5: float
    loss: float
    images: int
    confusion: np.ndarray

    @property
    def summary(self) -> str:
        """The scores in words."""
        top5 = f"top-5 {self.top5:.2%}, " if shows_top5(len(self.confusion)) else ""
        return f"top-1 {self.top1:.2%}, {top5}loss {self.loss:.4f}"

    @property
    def best(self) -> float:
        """The number by which the best weights are chosen, at least 0."""
        return self.top1

    def record(self) -> dict[str, float | None]:
        """Returns the scores by their names in metrics.jsonl."""
        return {"eval_loss": self.loss, "top1": self.top1, "top5": self.top5}

    def scalars(self) -> dict[str, float]:
        """Returns the scores by their names in TensorBoard."""
        return {"top1": self.top1, "top5": self.top5, "loss": self.loss}


def count(logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> Counts:
    """Counts one batch; counts of batches and of devices add up.

    Args:
      logits: float [batch, classes].
      labels: int64 [batch].
      weights: float32 [batch], 1 for an image, 0 for padding of the batch.
    """
    logits = tf.cast(logits, tf.float32)  # they have fewer bits in mixed precision
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    top = tf.cast(tf.math.in_top_k(labels, logits, TOP), tf.float32)
    classes = logits.shape[-1]
    confusion = tf.math.confusion_matrix(
        labels, tf.argmax(logits, axis=-1), classes, weights=tf.cast(weights, tf.int64),
        dtype=tf.int64,
    )  # fmt: skip
    return {
        "loss": tf.reduce_sum(losses * weights),
        "top5": tf.reduce_sum(top * weights),
        "confusion": confusion,
    }


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    """Returns logits of given probabilities, [batch, classes]: their logarithm.

    They differ from a network's own by a constant per image, which no loss depends on.
    """
    return np.log(np.maximum(probabilities, keras.config.epsilon()))


def summarize(
    batches: Iterable[Counts], add: Callable[[np.ndarray], np.ndarray] = lambda totals: totals
) -> Scores:
    """Adds up the counts of all batches.

    Args:
      batches: the counts of each batch.
      add: sums the totals, float64 [n], of all workers, see
        `trainers.distribution.workers.Workers.add`.
    """
    loss = top5 = 0.0
    confusion = np.int64(0)
    for counts in batches:
        loss += float(counts["loss"])
        top5 += float(counts["top5"])
        confusion = confusion + counts["confusion"].numpy()
    # Once, not for every batch: the table of a thousand classes is large.
    loss, top5, *cells = add(np.array([loss, top5, *confusion.ravel()])).tolist()
    confusion = np.array(cells, np.int64).reshape(confusion.shape)
    images = int(confusion.sum())
    top1 = float(confusion.trace() / images)
    return Scores(top1, top5 / images, loss / images, images, confusion)


def make_counter(
    model: keras.Model, strategy: tf.distribute.Strategy
) -> Callable[[tuple[tf.Tensor, ...]], Counts]:
    """Returns a function that counts a batch of (images, labels, weights).

    It uses all devices of this worker; the counts of the workers still have to be added up.
    """

    def count_replica(images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> Counts:
        return count(model(images, training=False), labels, weights)

    @tf.function(autograph=False)
    def count_batch(batch: tuple[tf.Tensor, ...]) -> Counts:
        counts = strategy.run(count_replica, args=batch)
        return {
            name: tf.add_n(strategy.experimental_local_results(value))
            for name, value in counts.items()
        }

    return count_batch
