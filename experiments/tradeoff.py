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

main = command.define("tradeoff", measurements=lambda: [Path(path) for path in _MEASUREMENTS.value])

if __name__ == "__main__":
    cli.run(main)
