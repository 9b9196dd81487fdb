"""Multiply-adds and parameters of every variant of the papers, beside the papers' figures.

Example:
  python -m experiments.complexity --output=experiments_results
"""

from absl import flags

from common import cli
from experiments.command import perform
from experiments.harness import flags as lab_flags
from trainers.startup import import_tensorflow

lab_flags.define(measures=False)
# So that --help shows them.
flags.adopt_module_key_flags(lab_flags)


def main() -> None:
    """Reads the flags, counts, and writes the result."""
    settings = lab_flags.read(measures=False)
    import_tensorflow()
    perform("complexity", settings)


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
