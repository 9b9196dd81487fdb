"""Accuracy against latency and multiply-adds, with the Pareto fronts (V2 Figure 1).

Example:
  python -m experiments.tradeoff --measurements=measurements.jsonl
"""

from pathlib import Path

from absl import flags

from common import cli
from experiments.command import perform
from experiments.harness import flags as lab_flags
from trainers.startup import import_tensorflow

_MEASUREMENTS = flags.DEFINE_list(
    "measurements", [], "Files of edge.benchmark: accuracies that were measured here, besides."
)
lab_flags.define()
# So that --help shows them.
flags.adopt_module_key_flags(lab_flags)


def main() -> None:
    """Reads the flags, converts, measures, and writes the result."""
    settings = lab_flags.read()
    measurements = [Path(name) for name in _MEASUREMENTS.value]
    import_tensorflow()
    from experiments.tables import tradeoff

    perform("tradeoff", settings, lambda one: tradeoff.run(one, measurements))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
