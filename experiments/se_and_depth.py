"""Measures what Squeeze-and-Excitation, residual connections and depth cost.

ShuffleNet V1 with Squeeze-and-Excitation (SE; its Table 5); V2 with SE, with residual connections,
and with more layers (V2's Table 6 and appendix).

Examples:
  python -m experiments.se_and_depth --networks=v1-2x-g3,v1-2x-g3-se
  python -m experiments.se_and_depth --networks=v2-0.5x-deep,v2-0.5x-deep-residual --train
"""

from absl import flags

from common import cli
from experiments import command

_NETWORKS = flags.DEFINE_list(
    "networks",
    None,
    "Networks such as v1-2x-g3-se, v2-0.5x-deep or v2-50-residual-se, separated by commas; by "
    "default all except those of 164 layers.",
)

main = command.define("se_and_depth", networks=lambda: _NETWORKS.value)

if __name__ == "__main__":
    cli.run(main)
