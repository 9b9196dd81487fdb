"""The flags that all experiments share.

They are defined by a call and not by the import: a module with flags is a command.
"""

from pathlib import Path

from absl import flags

from edge.devices import DEVICES
from edge.devices import flags as device_flags
from experiments.harness.experiment import Settings

FLAGS = flags.FLAGS


def define(measures: bool = True) -> None:
    """Defines the flags; a command calls it at its top.

    Args:
      measures: whether the experiment takes times; otherwise --output is all it needs.
    """
    flags.DEFINE_string("output", "experiments_results", "Folder of the results.")
    if not measures:
        return
    flags.DEFINE_string("device", "host", f"Device to measure on: {', '.join(DEVICES)}.")
    flags.DEFINE_string("cache", "build/experiments", "Folder of converted networks, kept.")
    flags.DEFINE_integer("passes", 5, "How often all is measured; the spread is theirs.")
    flags.DEFINE_integer("runs", 30, "Timed inferences of a file in a pass.")
    flags.DEFINE_float(
        "seconds", 0.2, "After so many a file's runs in a pass end early, on the host."
    )
    device_flags.define()
    # What a command adopts of this module.
    flags.adopt_module_key_flags(device_flags)


def read(measures: bool = True) -> Settings:
    """Returns what the command line says.

    Args:
      measures: as for `define`.

    Raises:
      UserError: a device that is not there, or a value that a flag cannot have.
    """
    output = Path(FLAGS.output)
    if not measures:
        return Settings(output=output)
    return Settings(
        device=FLAGS.device,
        output=output,
        cache=Path(FLAGS.cache),
        passes=FLAGS.passes,
        runs=FLAGS.runs,
        seconds=FLAGS.seconds,
        options=device_flags.read(),
    )
