"""Measures what Squeeze-and-Excitation, residual connections and depth cost.

ShuffleNet V1 with SE (its Table 5); V2 with SE, with residual connections, and deep (V2's Table 6
and appendix).

Examples:
  python -m experiments.se_and_depth --networks=v1-2x-g3,v1-2x-g3-se
  python -m experiments.se_and_depth --networks=v2-0.5x-deep,v2-0.5x-deep-residual --train
"""

from absl import flags

from common import cli
from experiments.command import perform
from experiments.harness import flags as lab_flags
from experiments.training import flags as training_flags
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks",
    None,
    "Networks such as v1-2x-g3-se, v2-0.5x-deep or v2-50-residual-se, separated by commas; all but "
    "those of 164 layers by default.",
)
lab_flags.define()
training_flags.define()
# So that --help shows them.
flags.adopt_module_key_flags(lab_flags)
flags.adopt_module_key_flags(training_flags)


def main() -> None:
    """Reads the flags, measures, trains, and writes the result."""
    settings, training = lab_flags.read(), training_flags.read("se_and_depth")
    import_tensorflow()
    from experiments.tables import se_and_depth

    options = se_and_depth.Options(_NETWORKS.value, training)
    perform("se_and_depth", settings, lambda settings: se_and_depth.run(settings, options))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
