"""The experiments there are."""

import importlib
from dataclasses import dataclass

from experiments.experiment import Result, Settings
from trainers.choices import choose


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
        "experiments.complexity_tables",
        measures=False,
    ),
    Experiment(
        "guidelines",
        "The four guidelines for efficient networks",
        "V2 Tables 1 to 4",
        "experiments.guideline_tables",
    ),
    Experiment(
        "decomposition",
        "Where the time goes",
        "V2 Figure 2",
        "experiments.decomposition_tables",
    ),
    Experiment(
        "tradeoff",
        "Accuracy against latency and multiply-adds",
        "V2 Figure 1",
        "experiments.tradeoff_tables",
    ),
    Experiment(
        "feature_reuse",
        "How features are used again",
        "V2 Figure 4",
        "experiments.feature_reuse_maps",
        measures=False,
    ),
    Experiment(
        "structures",
        "Five kinds of units with equal multiply-adds",
        "V1 Table 4",
        "experiments.structure_tables",
    ),
    Experiment(
        "ablations",
        "Groups and shuffles",
        "V1 Tables 2 and 3",
        "experiments.ablation_tables",
    ),
    Experiment(
        "models",
        "ShuffleNets among other networks",
        "V1 Tables 5, 6 and 8",
        "experiments.model_tables",
    ),
    Experiment(
        "se_and_depth",
        "Squeeze-and-Excitation, residual connections, and depth",
        "V1 Table 5, V2 Section 4",
        "experiments.se_and_depth_tables",
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
