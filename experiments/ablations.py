"""Compares ShuffleNet V1 by number of groups, with and without shuffles (V1 Tables 2 and 3).

Examples:
  python -m experiments.ablations --output=experiments_results
  python -m experiments.ablations --networks=0.25x-g3,0.25x-g3-no-shuffle --train --epochs=10
"""

from absl import flags

from common import cli
from experiments import command

_NETWORKS = flags.DEFINE_list(
    "networks",
    None,
    "Networks such as 1x-g3 or 0.25x-g8-no-shuffle, separated by commas; all by default.",
)

main = command.define("ablations", networks=lambda: _NETWORKS.value)

if __name__ == "__main__":
    cli.run(main)
