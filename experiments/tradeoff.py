"""Compares accuracy with latency and multiply-adds, with the Pareto fronts (V2 Figure 1).

Example:
  python -m experiments.tradeoff --measurements=measurements.jsonl
"""

from pathlib import Path

from absl import flags

from common import cli
from experiments import command

_MEASUREMENTS = flags.DEFINE_list(
    "measurements",
    [],
    "Files that `shufflenet benchmark` wrote: their measured accuracies get a table as well.",
)
command.define_flags()


def main() -> None:
    """Reads the flags, converts, measures, and writes the result."""
    command.run("tradeoff", measurements=list(map(Path, _MEASUREMENTS.value)))


if __name__ == "__main__":
    cli.run(main)
