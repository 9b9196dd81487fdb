"""How much memory this process has."""

from pathlib import Path

_STATUS = Path("/proc/self/status")


def resident_megabytes() -> float | None:
    """Returns this process's resident memory in MB; None if the system does not report it.

    Examples:
      >>> before = resident_megabytes()
    """
    if not _STATUS.is_file():
        return None
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    kilobytes = next((line.split()[1] for line in lines if line.startswith("VmRSS:")), None)
    return None if kilobytes is None else int(kilobytes) * 1024 / 1e6
