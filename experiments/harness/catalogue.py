"""The experiments there are."""

import importlib
from dataclasses import dataclass

from common.choices import choose
from experiments.harness.experiment import Result, Settings


@dataclass(frozen=True)
class Experiment:
    """An experiment: which tables and figures it repeats, and where its code is.

    Attributes:
      name: of its command, `python -m experiments.NAME`.
      title: what it is about.
      source: the papers' tables and figures.
      module: has `run(settings) -> Result`; imported when the experiment runs.
      measures: whether it takes times, which a busy machine disturbs.
    """

    name: str
    title: str
    source: str
    module: str
    measures: bool = True

    def run(self, settings: Settings) -> Result:
        """Does the experiment with its default options."""
        return importlib.import_module(self.module).run(settings)


_ALL = (
    Experiment(
        "complexity",
        "Multiply-adds and parameters of every variant",
        "V1 Tables 1, 2 and 5, V2 Table 5",
        "experiments.tables.complexity",
        measures=False,
    ),
    Experiment(
        "guidelines",
        "The four guidelines for efficient networks",
        "V2 Tables 1 to 4",
        "experiments.tables.guidelines",
    ),
    Experiment(
        "decomposition",
        "Where the time goes",
        "V2 Figure 2",
        "experiments.tables.decomposition",
    ),
    Experiment(
        "tradeoff",
        "Accuracy against latency and multiply-adds",
        "V2 Figure 1",
        "experiments.tables.tradeoff",
    ),
    Experiment(
        "feature_reuse",
        "How features are used again",
        "V2 Figure 4",
        "experiments.tables.feature_reuse",
        measures=False,
    ),
    Experiment(
        "structures",
        "Five kinds of units with equal multiply-adds",
        "V1 Table 4",
        "experiments.tables.structures",
    ),
    Experiment(
        "ablations",
        "Groups and shuffles",
        "V1 Tables 2 and 3",
        "experiments.tables.ablations",
    ),
    Experiment(
        "models",
        "ShuffleNets among other networks",
        "V1 Tables 5, 6 and 8",
        "experiments.tables.models",
    ),
    Experiment(
        "se_and_depth",
        "Squeeze-and-Excitation, residual connections, and depth",
        "V1 Table 5, V2 Section 4",
        "experiments.tables.se_and_depth",
    ),
)
EXPERIMENTS = {experiment.name: experiment for experiment in _ALL}


def find(name: str) -> Experiment:
    """Returns an experiment.

    Raises:
      UserError: there is none of this name.
    """
    (name,) = choose("experiment", [name], EXPERIMENTS)
    return EXPERIMENTS[name]
