"""Shows how ShuffleNetV2's units reuse features: formula, channels, weights (V2 Figure 4).

Example:
  python -m experiments.feature_reuse --model=work
"""

from pathlib import Path

from absl import flags

from common import cli
from experiments import command

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "A trained ShuffleNetV2: the --workdir of `shufflenet train`, or a .keras file.",
)

main = command.define(
    "feature_reuse", model=lambda: None if _MODEL.value is None else Path(_MODEL.value)
)

if __name__ == "__main__":
    cli.run(main)
