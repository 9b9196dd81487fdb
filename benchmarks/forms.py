"""Measures what one field of a lowering costs in int8 latency: how `targets.py` was filled.

A lowering is a target's choice of operators for the deployment graph (the trained network,
rewritten for int8 inference). Weights and calibration images are random: latency does not depend
on them. The files run in interleaved rounds, in processes pinned to one core, with one thread.

Example:
  python -m benchmarks.forms --networks=v1-1x-g3 --field=average_pool --values=pool,depthwise
"""

from absl import flags

from benchmarks.measuring.results import define_turns, read_turns
from common import cli
from converters.graph.targets import LOWERINGS
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list("networks", ["v1-1x-g3"], "Networks, separated by commas.")
_TARGET = flags.DEFINE_enum(
    "target", "cpu", list(LOWERINGS), "Target whose lowering (choice of operators) is changed."
)
_FIELD = flags.DEFINE_string("field", "average_pool", "Field of the lowering that is changed.")
_VALUES = flags.DEFINE_list(
    "values",
    ["pool", "depthwise"],
    "Values of the field, separated by commas; the others are compared with the first.",
)
define_turns(rounds=40)


def main() -> None:
    """Reads the flags, converts, measures, and prints the table."""
    import_tensorflow()
    from benchmarks.measuring.form_times import FormTimesConfig, form_table, lowerings, measure_all
    from benchmarks.measuring.networks import check_names

    config = FormTimesConfig(
        networks=check_names(_NETWORKS.value),
        target=_TARGET.value,
        field=_FIELD.value,
        values=tuple(_VALUES.value),
        turns=read_turns(),
    )
    lowerings(config)
    print(form_table(config, measure_all(config)))


if __name__ == "__main__":
    cli.run(main)
