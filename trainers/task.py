"""What a run trains: the loop gets batches, the network, its loss,
scores and files from a task.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainers import evaluation
from trainers.config import TrainConfig
from trainers.data import pipeline
from trainers.data.sources import Source
from trainers.networks.distillation import (
    Distillation,
    distillation_losses,
    load_distillation,
)
from trainers.networks.models import build_model, full_precision, save_model
from trainers.networks.starting_weights import load_starting_weights
from trainers.networks.whitening import stem, whiten_stem


class Task:
    """Trains a ShuffleNet in float; other tasks override what differs.

    Args:
      config: the run's settings.

    Attributes:
      config: the same.
      best_file, final_file: file names of the best and of the last weights, in the workdir.
      evaluates_start: evaluate before the first step, if the weights are not random.
      epochs_between_evaluations: if the settings do not say how often.
    """

    best_file = "best.keras"
    final_file = "model.keras"
    evaluates_start = False
    epochs_between_evaluations = 1

    def __init__(self, config: TrainConfig):
        self.config = config
        self._loss = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=config.optimization.label_smoothing, reduction=None
        )
        self._distillation: Distillation | None = None
        self._class_weights: np.ndarray | None = None

    def training_batches(
        self,
        config: TrainConfig,
        source: Source,
        start: int,
        context: tf.distribute.InputContext,
    ) -> tf.data.Dataset:
        """Returns the endless stream of (images, labels) after `start` steps.

        Args:
          config: the run's, with the sizes that images have from this step on.
          source: the training split.
          start: steps already taken.
          context: this worker's number and how many there are.
        """
        return pipeline.training_batches(config, source, start, context)

    def evaluation_batches(
        self, source: Source, context: tf.distribute.InputContext
    ) -> tf.data.Dataset:
        """Returns every image once, in full batches for `make_counter`'s function."""
        size = self.config.optimization.batch_size
        return pipeline.evaluation_batches(self.config.images, size, source, context)

    def make_counter(
        self, model: keras.Model, strategy: tf.distribute.Strategy, source: Source
    ) -> Callable[[tuple], Any]:
        """Returns a function that evaluates a batch of `source`, on all devices of this worker."""
        return evaluation.make_counter(model, strategy)

    def summarize(
        self, batches: Iterable[Any], add: Callable[[np.ndarray], np.ndarray]
    ) -> evaluation.Scores:
        """Returns the scores of what the counter's function returned for all batches.

        Args:
          batches: of this worker; computed while they are read.
          add: sums an array over all workers.
        """
        return evaluation.summarize(batches, add)

    def weigh_classes(self, source: Source) -> None:
        """Sets the weights of the classes in the loss, by their numbers of images in `source`."""
        if self.config.optimization.class_weights == "balanced":
            self._class_weights = balanced_weights(source.counts())

    def build(self, source: Source) -> keras.Model:
        """Returns the network for the images and classes of `source`; its output is logits.

        Called in the strategy's scope.
        """
        channels, classes = source.channels, len(source.class_names)
        if self.config.optimization.distill:
            names = source.class_names
            self._distillation = load_distillation(self.config, channels, names)
        model = build_model(
            self.config.network,
            self.config.images,
            channels,
            classes,
            self.config.optimization.precision,
        )
        if self.config.images.train_size:
            # The network works with any size, but Keras checks for the one it was built with.
            model.input_spec = keras.layers.InputSpec(ndim=4)
        return model

    def initialize(self, model: keras.Model, source: Source) -> None:
        """Sets the weights that a new run on the images of `source` starts from."""
        if self.config.network.weights:
            network, images = self.config.network, self.config.images
            load_starting_weights(model, network, images, source.class_names)
        if self.config.network.whiten_stem:
            whiten_stem(model, self.config.data, self.config.images, source)

    def learnt(self, model: keras.Model) -> list[keras.Variable]:
        """Returns the network's weights that are trained."""
        fixed = {id(stem(model).kernel)} if self.config.network.whiten_stem else set()
        return [weight for weight in model.trainable_variables if id(weight) not in fixed]

    def losses(self, images: tf.Tensor, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every example, float32 [batch].

        Args:
          images: float32 [batch, size, size, channels], normalized.
          labels: int64 [batch], or float [batch, classes] with each class's share.
          logits: float32 [batch, classes], from the network.
        """
        # Mixed labels are shares already.
        if len(labels.shape) == 1:
            labels = tf.one_hot(labels, logits.shape[-1])
        losses = self._loss(labels, logits)
        if self._class_weights is not None:
            losses *= tf.linalg.matvec(labels, tf.constant(self._class_weights, labels.dtype))
        return self._with_teacher(losses, images, logits)

    def _with_teacher(self, losses: tf.Tensor, images: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the losses of a batch, mixed with those from the teacher if there is one."""
        if self._distillation is None:
            return losses
        return self._distillation.mix(losses, images, outputs)

    def distillation_losses(
        self, teacher: tf.Tensor, student: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """Returns how far each output is from a teacher's of the same image, float32 [batch]."""
        return distillation_losses(teacher, student, temperature)

    def save(self, model: keras.Model, path: Path) -> None:
        """Writes the network's weights to `path`, whole or not at all."""
        precision = self.config.optimization.precision
        whole = full_precision(model, self.config.network, self.config.images, precision)
        save_model(whole, path)

    def save_config(self) -> None:
        """Writes the run's settings, `config.json` last."""
        self.config.save(self.config.workdir)

    def resume_command(self) -> str:
        """Returns the command that continues the run."""
        return f"shufflenet train --workdir={self.config.workdir} --resume"


def balanced_weights(counts: np.ndarray) -> np.ndarray:
    """Returns weights with which all classes count alike, and an image 1 on average.

    As scikit-learn's `class_weight="balanced"`.

    Args:
      counts: number of images of each class; a class without images gets 0.

    Examples:
      >>> balanced_weights(np.array([30, 10]))
      array([0.66666667, 2.        ])
    """
    share = counts.sum() / np.count_nonzero(counts)
    return np.divide(share, counts, out=np.zeros(len(counts)), where=counts > 0)
