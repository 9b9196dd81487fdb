"""What a measurement is made of: statistics, the machine it was made on, and a file of records."""

import datetime
import json
import os
import platform
import sys
from pathlib import Path

import numpy as np

from trainers.cli import UserError
from trainers.litert import litert_version

SCHEMA_VERSION = 1


def statistics(milliseconds: list[float]) -> dict[str, float | int]:
    """Summarizes repeated timings.

    Args:
      milliseconds: one number a run, at least one.

    Returns:
      median, p10, p90, min and mean in milliseconds, and the number of runs.

    Raises:
      ValueError: there are no timings.

    Examples:
      >>> statistics([1.0, 2.0, 3.0])["median"]
      2.0
    """
    if not milliseconds:
        raise ValueError("milliseconds must hold at least one timing, received: []")
    p10, median, p90 = (float(value) for value in np.percentile(milliseconds, (10, 50, 90)))
    return {
        "median": median,
        "p10": p10,
        "p90": p90,
        "min": float(min(milliseconds)),
        "mean": float(np.mean(milliseconds)),
        "runs": len(milliseconds),
    }


def now() -> str:
    """Returns the date and time in UTC, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def describe_machine() -> dict:
    """Returns what a timing depends on; what cannot be read here is None."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "litert": litert_version(),
    }


def _cpu_model() -> str:
    # x86 says "model name", Raspberry Pi and its kin "Model".
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or platform.machine()


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def check_writable(path: Path) -> None:
    """Raises OSError now rather than after minutes of measuring."""
    with path.open("ab"):
        pass


def append_measurements(path: Path, records: list[dict]) -> None:
    """Appends records to a JSON Lines file and waits until they are on the disk.

    The lines go out in one write, so that two benchmarks can share a file. Should a killed
    run have left a torn last line, the new ones start on a line of their own.
    """
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    with path.open("a+b") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                lines = b"\n" + lines
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def read_measurements(path: Path) -> list[dict]:
    """Reads all whole records; a line torn by a killed run is named on stderr and skipped.

    Raises:
      UserError: the file is missing.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there; make it with edge.benchmark")
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            print(f"{path}:{number} is not a whole record, skipped", file=sys.stderr)
    return records
