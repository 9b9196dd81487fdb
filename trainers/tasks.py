"""What can be trained, by the setting `task`."""

from collections.abc import Callable

from trainers.config import TrainConfig
from trainers.data.datasets import load_sources
from trainers.data.sources import Source
from trainers.detection.task import DetectionTask, check_config, open_sources
from trainers.task import Task


def choose(
    config: TrainConfig,
) -> tuple[Callable[[TrainConfig], Task], Callable[..., list[Source]]]:
    """Returns what makes the task of a training, and what opens its data, for `loop.train`.

    Raises:
      UserError: a setting that the task does not support; reported before any data is read.
    """
    if config.detection.is_detection:
        check_config(config)
        return DetectionTask, open_sources
    return Task, load_sources
