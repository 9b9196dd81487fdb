"""What a result was measured on: as a record, and in words."""

import sys

from edge.running.measurement import describe_machine, now

# If more than this share of the cores is busy before a benchmark starts, its record has a warning.
_BUSY = 0.5


def describe_run(command: str, versions: dict[str, str]) -> dict:
    """Returns what a result depends on: date, command, machine and versions.

    Call it before measuring, so that `warning` says whether others were using the machine.
    """
    machine = describe_machine()
    return {
        "schema_version": 1,
        "date": now(),
        "command": command,
        "machine": machine,
        "versions": versions,
        "warning": busy_warning(machine),
    }


def busy_warning(machine: dict) -> str | None:
    """Returns a warning if others were using a machine, else None.

    Args:
      machine: what `describe_machine` returned before anything was measured.
    """
    load, cores = (machine["load_average"] or [0.0])[0], machine["cores"] or 1
    if load <= _BUSY * cores:
        return None
    return f"{load:.1f} processes were running on {cores} cores before it started"


def busy_note(machine: dict) -> str | None:
    """Returns the sentence below a table of times if others were using a machine, else None.

    Args:
      machine: as for `busy_warning`.
    """
    busy = busy_warning(machine)
    return busy and f"Not a quiet machine: {busy}; the times are noisy."


def warn_if_busy(run: dict, figures: str) -> None:
    """Warns on stderr if others were using the machine when `describe_run` was called.

    Args:
      run: the record.
      figures: what will be noisy, such as "times".
    """
    if run["warning"]:
        print(f"warning: {run['warning']}; the {figures} will be noisy", file=sys.stderr)


def describe(run: dict) -> str:
    """Describes in words what a table was measured on."""
    lines = [where_and_when(run), f"`{run['command']}`"]
    if run["warning"]:
        lines.insert(1, f"**Not a quiet machine**: {run['warning']}.")
    return "\n\n".join(lines)


def where_and_when(run: dict) -> str:
    """Returns the machine, the versions and the date of a run in one line."""
    machine = run["machine"]
    parts = [machine["cpu"], f"{machine['cores']} cores", machine["litert"]]
    parts += [f"{name} {version}" for name, version in run["versions"].items()]
    return f"{', '.join(parts)}; {run['date']}."
