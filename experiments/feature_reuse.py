"""How ShuffleNetV2's units use each other's features: formula, channels and weights (V2 Figure 4).

Example:
  python -m experiments.feature_reuse --model=work
"""

from pathlib import Path

from absl import flags

from common import cli
from experiments.command import perform
from experiments.harness import flags as lab_flags
from trainers.startup import import_tensorflow

_MODEL = flags.DEFINE_string(
    "model", None, "Workdir of trainers.train or a .keras file: a trained ShuffleNetV2."
)
lab_flags.define(measures=False)
# So that --help shows them.
flags.adopt_module_key_flags(lab_flags)


def main() -> None:
    """Reads the flags, follows the channels, and writes the result."""
    settings = lab_flags.read(measures=False)
    model = None if _MODEL.value is None else Path(_MODEL.value)
    import_tensorflow()
    from experiments.tables import feature_reuse

    perform("feature_reuse", settings, lambda one: feature_reuse.run(one, model))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
