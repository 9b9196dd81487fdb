"""What every experiment's command does: read the flags, run the experiment, write and print.

Flags are defined by a call, not by the import: a module that defines flags is a command.
"""

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import flags

from converters.source_digest import versions
from edge.devices import DEVICES
from edge.devices import flags as device_flags
from edge.provenance import describe_run, warn_if_busy
from experiments.harness.catalogue import EXPERIMENTS
from experiments.harness.experiment import Settings
from experiments.harness.results import save, to_text
from experiments.measuring.devices import describe_device, unfinished_path
from experiments.training import config as training
from trainers.startup import import_tensorflow

FLAGS = flags.FLAGS
# The flags belong to the calling command, whose --help shows them.
flags.disclaim_key_flags()


def define(name: str, **options: Callable[[], Any]) -> Callable[[], None]:
    """Defines an experiment's flags, and returns the main part of its command.

    Args:
      name: of the experiment.
      options: further arguments of the experiment's `run`: what its own flags say, once they are
        parsed.

    Raises:
      UserError: the main part, for an invalid value of a flag, or as `perform`.
    """
    experiment = EXPERIMENTS[name]
    define_flags(experiment.measures)
    if experiment.trains:
        training.define_flags(experiment.recipe)

    def main() -> None:
        settings = read_settings()
        given = {option: value() for option, value in options.items()}
        if experiment.trains:
            given["training"] = training.read_flags(name)
        # Only now, so that a wrong flag is reported before TensorFlow's seconds to start.
        import_tensorflow()
        perform(name, settings, given)

    return main


def define_flags(measures: bool = True) -> None:
    """Defines the flags that experiments share; a command calls it at its top.

    Args:
      measures: whether the experiment measures times; otherwise it needs only --output.
    """
    flags.DEFINE_string("output", "experiments_results", "Folder of the results.")
    if not measures:
        return
    flags.DEFINE_string("device", "host", f"Device to measure on: {', '.join(DEVICES)}.")
    flags.DEFINE_string(
        "cache", "build/experiments", "Folder of converted networks, kept for the next run."
    )
    flags.DEFINE_integer("passes", 5, "Passes over all files; the spread is that of the passes.")
    flags.DEFINE_integer("runs", 30, "Timed inferences of a file in each pass, at most.")
    flags.DEFINE_float(
        "seconds", 0.2, "On the host, a file's runs in a pass end after this many seconds."
    )
    device_flags.define()
    flags.adopt_module_key_flags(device_flags)


def read_settings() -> Settings:
    """Returns what the command line says about measuring.

    Raises:
      UserError: an unknown device, or an invalid value of a flag.
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


def perform(
    name: str,
    settings: Settings,
    options: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> dict:
    """Runs an experiment, writes its result, prints it, and returns its record.

    Args:
      name: of the experiment.
      settings: from the command line.
      options: further arguments of the experiment's `run`.
      command: for the record; by default the command of this process.

    Raises:
      UserError: it failed.
    """
    experiment = EXPERIMENTS[name]
    command = command or shlex.join(["python", "-m", f"experiments.{name}", *sys.argv[1:]])
    # First, because converting loads the machine too.
    described = describe_run(command, versions())
    described["device"] = settings.device if experiment.measures else None
    if not experiment.measures:
        described["warning"] = None
    warn_if_busy(described, "times")
    result = experiment.run(settings, **(options or {}))
    described["device_says"] = describe_device(settings.output, name)
    record = save(experiment, settings, described, result)
    # Only now: until here, the same command resumes with what was measured.
    unfinished_path(settings.output, name).unlink(missing_ok=True)
    print(f"{experiment.title} ({experiment.source})\n\n{to_text(record)}\n")
    print(f"written: {settings.output}/{name}.json, {name}.md")
    return record
