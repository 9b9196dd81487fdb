"""Compares five kinds of units at equal multiply-adds, like ShuffleNet V1's Table 4.

VGG-like, ResNet, Xception-like, ResNeXt and ShuffleNet units are put into the network of V1's
Table 1; their widths are chosen so that all have the same number of multiply-adds.

Examples:
  python -m experiments.structures --output=experiments_results
  python -m experiments.structures --complexities=13 --train --epochs=10
"""

from absl import flags

from common import cli
from experiments import command

_COMPLEXITIES = flags.DEFINE_list(
    "complexities",
    ["140", "38", "13"],
    "Millions of multiply-adds at 224 pixels, separated by commas.",
)


def _complexities() -> tuple[float, ...]:
    try:
        found = tuple(float(text) for text in _COMPLEXITIES.value)
    except ValueError:
        found = ()
    if not found or len(set(found)) < len(found) or not all(0 < one < 10_000 for one in found):
        raise cli.UserError(
            "--complexities must be different numbers above 0 and below 10000; "
            f"got {','.join(_COMPLEXITIES.value)!r}"
        )
    return found


main = command.define("structures", complexities=_complexities)

if __name__ == "__main__":
    cli.run(main)
