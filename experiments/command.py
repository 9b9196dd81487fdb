"""What every experiment's command does: describe the run, do the experiment, write and print."""

import shlex
import sys
from collections.abc import Callable

from converters.source_digest import versions
from edge.provenance import describe_run, warn_if_busy
from experiments.harness.catalogue import find
from experiments.harness.experiment import Result, Settings
from experiments.harness.results import save, to_text
from experiments.measuring.devices import describe_device, unfinished_path


def perform(
    name: str,
    settings: Settings,
    run: Callable[[Settings], Result] | None = None,
    command: str | None = None,
) -> dict:
    """Does an experiment, writes its result, prints it, and returns its record.

    Args:
      name: of the experiment.
      settings: of the command line.
      run: does it; by default with the experiment's default options.
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
    result = (run or experiment.run)(settings)
    described["device_says"] = describe_device(settings.output, name)
    record = save(experiment, settings, described, result)
    # Only now: until then a repetition of the command goes on with what was measured.
    unfinished_path(settings.output, name).unlink(missing_ok=True)
    print(f"{experiment.title} ({experiment.source})\n\n{to_text(record)}\n")
    print(f"written: {settings.output}/{name}.json, {name}.md")
    return record
