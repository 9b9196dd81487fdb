"""How the networks of an experiment are trained: the flags of `experiments.training.flags`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cli import UserError


@dataclass(frozen=True)
class QueueConfig:
    """How all networks of a queue are trained.

    Attributes:
      recipe: a key of `trainers.recipes.RECIPES`; its network is replaced.
      values: of `TrainConfig` by name, in the place of the recipe's.
      seeds: each network is trained once with each.
      folder: of the workdirs.
      names: of the networks; None: all.
    """

    recipe: str
    values: Mapping[str, Any]
    seeds: tuple[int, ...]
    folder: Path
    names: Sequence[str] | None = None

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise UserError(
                f"--seeds must be different numbers of at least 0; got {list(self.seeds)}"
            )


def trainings_folder(output: Path, experiment: str) -> Path:
    """Returns where an experiment's trainings are under its --output."""
    return output / "trainings" / experiment
