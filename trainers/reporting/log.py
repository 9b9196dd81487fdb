"""What the user sees while a training runs."""

import math
import time

import tensorflow as tf

from common.cli import UserError
from common.console.progress import Progress
from common.memory import resident_megabytes
from trainers.checkpoints import diverged
from trainers.evaluation import Scores


class Log:
    """Progress on the screen, and scalars for TensorBoard.

    Args:
      batch_size: images per step.
      progress: the progress bar on the screen.

    Attributes:
      loss: the last loss shown; None before the first.
      images_per_second: of the last steps; None until it is known.
    """

    def __init__(self, batch_size: int, progress: Progress):
        self._batch_size, self._progress = batch_size, progress
        self._time, self._step = time.monotonic(), None
        self.loss: float | None = None
        self.images_per_second: float | None = None

    def write(self, step: int, loss: float, rate: float) -> None:
        """Shows loss and speed; raises UserError if the loss is non-finite."""
        if not math.isfinite(loss):
            raise UserError(diverged(step))
        now = time.monotonic()
        # The first steps include tracing the graph, so their time is not the training's speed.
        if self._step is not None:
            images = (step - self._step) * self._batch_size
            self.images_per_second = images / (now - self._time)
            tf.summary.scalar("train/images_per_second", self.images_per_second, step)
        self.loss, self._time, self._step = loss, now, step
        tf.summary.scalar("train/loss", loss, step)
        tf.summary.scalar("train/learning_rate", rate, step)
        if (memory := resident_megabytes()) is not None:
            tf.summary.scalar("train/memory_mb", memory, step)
        self._progress.update(step * self._batch_size, loss=loss)

    def write_scores(self, step: int, scores: Scores) -> None:
        """Shows an evaluation, whose time does not count as training."""
        for name, value in scores.scalars().items():
            tf.summary.scalar(f"eval/{name}", value, step)
        self._progress.say(f"step {step}: {scores.summary} on {scores.images} images")
        self._time, self._step = time.monotonic(), step
