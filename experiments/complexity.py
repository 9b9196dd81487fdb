"""Counts multiply-adds and parameters of the papers' variants, next to the papers' figures.

Example:
  python -m experiments.complexity --output=experiments_results
"""

from common import cli
from experiments import command

main = command.define("complexity")

if __name__ == "__main__":
    cli.run(main)
