"""Measures V2's four guidelines for efficient networks on a device (V2 Tables 1 to 4).

Each of the paper's blocks is stacked ten times at 56x56 pixels, with equal multiply-adds, and
measured in float32 and int8, with batches of 1 and 8.

Example:
  python -m experiments.guidelines --device=host --guidelines=G2
"""

from absl import flags

from common import cli
from common.choices import whole_numbers
from experiments import command

_GUIDELINES = flags.DEFINE_list(
    "guidelines", None, "Some of G1, G2, G3, G4, separated by commas; all by default."
)
_MULTIPLES = flags.DEFINE_list(
    "multiples", ["1"], "Factors of the widths, some of 1, 2, 4: the paper's columns."
)


def _multiples() -> tuple[int, ...]:
    return whole_numbers("multiples", _MULTIPLES.value, 1, 4)


main = command.define("guidelines", names=lambda: _GUIDELINES.value, multiples=_multiples)

if __name__ == "__main__":
    cli.run(main)
