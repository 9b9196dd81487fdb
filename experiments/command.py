"""What every experiment's command does: read the flags, do the experiment, write and print.

Flags are defined by a call and not by the import: a module with flags is a command.
"""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from converters.source_digest import versions
from edge.devices import DEVICES
from edge.devices import flags as device_flags
from edge.provenance import describe_run, warn_if_busy
from experiments.harness.catalogue import find
from experiments.harness.experiment import Settings
from experiments.harness.results import save, to_text
from experiments.measuring.devices import describe_device, unfinished_path
from experiments.training import config as training
from trainers.startup import import_tensorflow

FLAGS = flags.FLAGS
# The flags are the calling command's, whose --help shows them.
flags.disclaim_key_flags()


def define_flags(measures: bool = True, trains: bool = False) -> None:
    """Defines the flags that experiments share; a command calls it at its top.

    Args:
      measures: whether the experiment takes times; otherwise --output is all it needs.
      trains: whether it can train its networks.
    """
    flags.DEFINE_string("output", "experiments_results", "Folder of the results.")
    if measures:
        flags.DEFINE_string("device", "host", f"Device to measure on: {', '.join(DEVICES)}.")
        flags.DEFINE_string("cache", "build/experiments", "Folder of converted networks, kept.")
        flags.DEFINE_integer("passes", 5, "How often all is measured; the spread is theirs.")
        flags.DEFINE_integer("runs", 30, "Timed inferences of a file in a pass.")
        flags.DEFINE_float(
            "seconds", 0.2, "After so many a file's runs in a pass end early, on the host."
        )
        device_flags.define()
        flags.adopt_module_key_flags(device_flags)
    if trains:
        training.define_flags()


def read_settings() -> Settings:
    """Returns what the command line says of the measuring.

    Raises:
      UserError: a device that is not there, or a value that a flag cannot have.
    """
    output = Path(FLAGS.output)
    if "device" not in FLAGS:
        return Settings(output=output)
    names = ("device", "passes", "runs", "seconds")
    return Settings(
        output=output,
        cache=Path(FLAGS.cache),
        options=device_flags.read(),
        **{name: FLAGS[name].value for name in names},
    )


def run(name: str, **options: Any) -> None:
    """Does an experiment as the command line says; the main part of its command.

    Args:
      name: of the experiment.
      options: what the command's own flags say: further arguments of the experiment's `run`.

    Raises:
      UserError: a value that a flag cannot have, or as `perform`.
    """
    settings = read_settings()
    if "train" in FLAGS:
        options["training"] = training.read_flags(name)
    # Only now, so that a wrong flag is reported without seconds of waiting for TensorFlow.
    import_tensorflow()
    perform(name, settings, options)


def perform(
    name: str,
    settings: Settings,
    options: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> dict:
    """Does an experiment, writes its result, prints it, and returns its record.

    Args:
      name: of the experiment.
      settings: of the command line.
      options: further arguments of the experiment's `run`.
      command: for the record; by default this process's.

    Raises:
      UserError: there is no such experiment, or it cannot be done.
    """
    experiment = find(name)
    command = command or shlex.join(["python", "-m", f"experiments.{name}", *sys.argv[1:]])
    # First, because converting is load as well.
    described = describe_run(command, versions())
    described["device"] = settings.device if experiment.measures else None
    if not experiment.measures:
        described["warning"] = None
    warn_if_busy(described, "times")
    result = experiment.run(settings, **(options or {}))
    described["device_says"] = describe_device(settings.output, name)
    record = save(experiment, settings, described, result)
    # Only now: until then a repetition of the command goes on with what was measured.
    unfinished_path(settings.output, name).unlink(missing_ok=True)
    print(f"{experiment.title} ({experiment.source})\n\n{to_text(record)}\n")
    print(f"written: {settings.output}/{name}.json, {name}.md")
    return record
