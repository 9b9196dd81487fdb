"""Counts multiply-adds and parameters of the papers' variants, next to the papers' figures.

Example:
  python -m experiments.complexity --output=experiments_results
"""

from common import cli
from experiments import command

command.define_flags(measures=False)


def main() -> None:
    """Reads the flags, counts, and writes the result."""
    command.run("complexity")


if __name__ == "__main__":
    cli.run(main)
