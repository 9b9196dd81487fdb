"""The list of experiments."""

import importlib
from dataclasses import dataclass
from typing import Any

from experiments.harness.experiment import Result, Settings


@dataclass(frozen=True)
class Experiment:
    """An experiment: which tables and figures it reproduces, and where its code is.

    Attributes:
      name: of its command, `python -m experiments.NAME`.
      title: what it is about.
      source: the papers' tables and figures.
      measures: whether it measures times, which a busy machine disturbs.
      trains: whether it can train its networks.
      recipe: how it trains them, if --recipe is not given.
    """

    name: str
    title: str
    source: str
    measures: bool = True
    trains: bool = False
    recipe: str = "cifar10"

    @property
    def module(self) -> str:
        """The module with `run(settings, ...) -> Result`; imported when the experiment runs."""
        return f"experiments.tables.{self.name}"

    def run(self, settings: Settings, **options: Any) -> Result:
        """Runs the experiment; the options are further arguments of its module's `run`."""
        return importlib.import_module(self.module).run(settings, **options)


_ALL = (
    Experiment(
        "complexity",
        "Multiply-adds and parameters of every variant",
        "V1 Tables 1, 2 and 5, V2 Table 5",
        measures=False,
    ),
    Experiment("guidelines", "The four guidelines for efficient networks", "V2 Tables 1 to 4"),
    Experiment("decomposition", "Where the time goes", "V2 Figure 2"),
    Experiment("tradeoff", "Accuracy against latency and multiply-adds", "V2 Figure 1"),
    Experiment("feature_reuse", "How features are used again", "V2 Figure 4", measures=False),
    Experiment(
        "structures", "Five kinds of units with equal multiply-adds", "V1 Table 4", trains=True
    ),
    Experiment("ablations", "Groups and shuffles", "V1 Tables 2 and 3", trains=True),
    Experiment("models", "ShuffleNets among other networks", "V1 Tables 5, 6 and 8"),
    Experiment(
        "se_and_depth",
        "Squeeze-and-Excitation, residual connections, and depth",
        "V1 Table 5, V2 Section 4",
        trains=True,
    ),
    Experiment(
        "detection",
        "Object detection with five backbones of equal multiply-adds",
        "V1 Table 7, V2 Table 7",
        measures=False,
        trains=True,
        recipe="detection",
    ),
)
EXPERIMENTS = {experiment.name: experiment for experiment in _ALL}
