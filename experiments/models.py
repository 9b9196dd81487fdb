"""Measures ShuffleNets and other networks at three image sizes (V1 Tables 5, 6 and 8).

Example:
  python -m experiments.models --networks=v1-0.5x-g3,alexnet --sizes=224x224
"""

from absl import flags

from common import cli
from experiments import command

_NETWORKS = flags.DEFINE_list(
    "networks",
    None,
    "Networks such as v1-0.5x-g3, mobilenet-v2 or vgg-16, separated by commas; all by default.",
)
_SIZES = flags.DEFINE_list(
    "sizes",
    None,
    "Height x width in pixels, some of 224x224, 480x640 and 720x1280, separated by commas; all by "
    "default.",
)

main = command.define("models", networks=lambda: _NETWORKS.value, sizes=lambda: _SIZES.value)

if __name__ == "__main__":
    cli.run(main)
