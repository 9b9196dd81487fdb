"""Learning rates by step."""

import keras

from trainers.settings import OptimizationConfig


def learning_rate(
    config: OptimizationConfig, total_steps: int, steps_per_epoch: float
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the schedule: linear warm-up, then a cosine or a line to 0 at the last step.

    Args:
      config: learning_rate, schedule and warmup_epochs matter.
      total_steps: of the run.
      steps_per_epoch: may be fractional.
    """
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total_steps - 1)
    if config.schedule == "linear":
        return LinearDecay(config.learning_rate, total_steps, warmup)
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(config.learning_rate, total_steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total_steps - warmup, warmup_target=config.learning_rate, warmup_steps=warmup
    )


class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A line up to the peak, then a line down to 0; Keras's PolynomialDecay has no warm-up.

    Args:
      peak: the highest rate.
      total_steps: the step at which the rate is 0.
      warmup_steps: the step at which the rate is highest, below total_steps.
    """

    def __init__(self, peak: float, total_steps: int, warmup_steps: int = 0):
        self._peak, self._total, self._warmup = peak, total_steps, warmup_steps

    def __call__(self, step):
        """Returns the learning rate of a step."""
        step = keras.ops.cast(step, "float32")
        down = (self._total - step) / (self._total - self._warmup)
        up = step / max(self._warmup, 1)
        return self._peak * keras.ops.where(step < self._warmup, up, keras.ops.maximum(down, 0.0))

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {"peak": self._peak, "total_steps": self._total, "warmup_steps": self._warmup}
