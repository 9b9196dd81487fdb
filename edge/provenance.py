"""What a result was measured on, as a record and in words."""

from edge.measurement import describe_machine, now

# Above this share of the cores at work before a benchmark starts, its record warns.
BUSY = 0.5


def describe_run(command: str, versions: dict[str, str]) -> dict:
    """Returns what a result depends on: date, command, machine and versions.

    Call it before measuring: `warning` then says whether others were using the machine.
    """
    machine = describe_machine()
    load, cores = (machine["load_average"] or [0.0])[0], machine["cores"] or 1
    busy = load > BUSY * cores
    return {
        "schema_version": 1,
        "date": now(),
        "command": command,
        "machine": machine,
        "versions": versions,
        "warning": f"{load:.1f} processes were running on {cores} cores before it started"
        if busy
        else None,
    }


def describe(run: dict) -> str:
    """Returns in words what a table was measured on."""
    machine = run["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['litert']}, {versions}; "
        f"{run['date']}.",
        f"`{run['command']}`",
    ]
    if run["warning"]:
        lines.insert(1, f"**Not a quiet machine**: {run['warning']}.")
    return "\n\n".join(lines)
