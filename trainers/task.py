"""What a run trains: the loop asks a task for the network, its loss and its files."""

from pathlib import Path

import keras
import tensorflow as tf

from trainers.config import TrainConfig
from trainers.models import build_model, save_model
from trainers.sources import Source


class Task:
    """Training a ShuffleNet in float from random weights; other tasks override what differs.

    Args:
      config: the run's settings.

    Attributes:
      config: the same.
      best_file, final_file: names in the workdir of the best and of the last weights.
      evaluates_start: evaluate before the first step, where weights are more than random.
    """

    best_file = "best.keras"
    final_file = "model.keras"
    evaluates_start = False

    def __init__(self, config: TrainConfig):
        self.config = config
        self._loss = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=config.label_smoothing, reduction=None
        )

    def build(self, source: Source) -> keras.Model:
        """Returns the network for the images and classes of `source`; it gives logits.

        Called in the strategy's scope.
        """
        return build_model(self.config, source.channels, len(source.class_names))

    def losses(self, images: tf.Tensor, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every example, float32 [batch].

        Args:
          images: float32 [batch, size, size, channels], normalized.
          labels: int64 [batch].
          logits: float32 [batch, classes], of the network.
        """
        return self._loss(tf.one_hot(labels, logits.shape[-1]), logits)

    def save(self, model: keras.Model, path: Path) -> None:
        """Writes the network's weights to `path`, whole or not at all."""
        save_model(model, path)

    def save_config(self) -> None:
        """Writes down how the run is set, `config.json` last."""
        self.config.save(self.config.workdir)

    def resume_command(self) -> str:
        """Returns what to type to go on with the run."""
        return f"python -m trainers.train --workdir={self.config.workdir} --resume"
