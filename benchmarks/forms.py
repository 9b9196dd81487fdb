"""Measures what one field of a target's form costs in int8 latency: how `targets.py` was filled.

Weights and calibration images are random: latency does not depend on them. The files take turns in
processes pinned to one core, with one thread.

Example:
  python -m benchmarks.forms --networks=v1-1x-g3 --field=average_pool --values=pool,depthwise
"""

from absl import flags

from converters.targets import FORMS
from trainers import cli
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list("networks", ["v1-1x-g3"], "Networks, separated by commas.")
_TARGET = flags.DEFINE_enum("target", "cpu", list(FORMS), "Whose form is changed.")
_FIELD = flags.DEFINE_string("field", "average_pool", "Field of the form that is changed.")
_VALUES = flags.DEFINE_list(
    "values", ["pool", "depthwise"], "Its values; the others are compared with the first."
)
_ROUNDS = flags.DEFINE_integer("rounds", 40, "Turns of every file in a process.", lower_bound=1)
_PROCESSES = flags.DEFINE_integer(
    "processes", 5, "Processes for every network: where memory lies differs.", lower_bound=1
)
_INVOKES = flags.DEFINE_integer(
    "invokes", 5, "Inferences in a turn; the turn counts by their median.", lower_bound=1
)
_CORE = flags.DEFINE_integer("core", 0, "CPU core to run on.", lower_bound=0)


def main() -> None:
    """Reads the flags, converts, measures, and prints the table."""
    import_tensorflow()
    from benchmarks.form_times import FormTimesConfig, form_table, forms, measure_all
    from benchmarks.networks import check_names

    config = FormTimesConfig(
        networks=check_names(_NETWORKS.value),
        target=_TARGET.value,
        field=_FIELD.value,
        values=tuple(_VALUES.value),
        rounds=_ROUNDS.value,
        processes=_PROCESSES.value,
        invokes=_INVOKES.value,
        core=_CORE.value,
    )
    forms(config)
    print(form_table(config, measure_all(config)))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
