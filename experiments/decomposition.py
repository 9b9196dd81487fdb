"""Shows where the time of V1, MobileNet V2 and V2 goes, by kind of operator (V2 Figure 2).

Example:
  python -m experiments.decomposition --output=experiments_results
"""

from common import cli
from experiments import command

main = command.define("decomposition")

if __name__ == "__main__":
    cli.run(main)
