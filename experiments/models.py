"""Measures ShuffleNets among other networks, as V1's Tables 5, 6 and 8 do, at three image sizes.

Example:
  python -m experiments.models --networks=v1-0.5x-g3,alexnet --sizes=224x224
"""

from absl import flags

from common import cli
from experiments.command import perform
from experiments.harness import flags as lab_flags
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks",
    None,
    "Networks such as v1-0.5x-g3, mobilenet-v2 or vgg-16, separated by commas; all by default.",
)
_SIZES = flags.DEFINE_list(
    "sizes", None, "Height x width, some of 224x224, 480x640 and 720x1280; all by default."
)
lab_flags.define()
# So that --help shows them.
flags.adopt_module_key_flags(lab_flags)


def main() -> None:
    """Reads the flags, converts, measures, and writes the result."""
    settings = lab_flags.read()
    import_tensorflow()
    from experiments.tables import models

    options = models.Options(_NETWORKS.value, _SIZES.value)
    perform("models", settings, lambda settings: models.run(settings, options))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
