"""Where the time of V1, MobileNet V2 and V2 goes, by kind of operator (V2 Figure 2).

Example:
  python -m experiments.decomposition --output=experiments_results
"""

from absl import flags

from common import cli
from experiments.command import perform
from experiments.harness import flags as lab_flags
from trainers.startup import import_tensorflow

lab_flags.define()
# So that --help shows them.
flags.adopt_module_key_flags(lab_flags)


def main() -> None:
    """Reads the flags, converts, profiles, and writes the result."""
    settings = lab_flags.read()
    import_tensorflow()
    perform("decomposition", settings)


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
