"""The flags of benchmarks whose files take turns.

They are defined by a call and not by the import: a module with flags is a command.
"""

from absl import flags

from benchmarks.measuring.interleaved_rounds import Turns

FLAGS = flags.FLAGS


def define(rounds: int) -> None:
    """Defines the flags, with this default of `--rounds`; a command calls it at its top."""
    flags.DEFINE_integer("rounds", rounds, "Turns of every file in a process.", lower_bound=1)
    flags.DEFINE_integer(
        "processes", 5, "Processes for every network: where memory lies differs.", lower_bound=1
    )
    flags.DEFINE_integer(
        "invokes", 5, "Inferences in a turn; the turn counts by their median.", lower_bound=1
    )
    flags.DEFINE_integer("core", 0, "CPU core to run on.", lower_bound=0)


def read() -> Turns:
    """Returns what the command line says."""
    return Turns(FLAGS.rounds, FLAGS.processes, FLAGS.invokes, FLAGS.core)
