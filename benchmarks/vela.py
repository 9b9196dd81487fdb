"""Cycles that Arm's Vela estimates for an Ethos-U, and what it leaves to the CPU."""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from converters.operators import operator_counts
from trainers.cli import UserError

# By name in tables: Vela's accelerator configuration.
ACCELERATORS = {
    "U55-128": "ethos-u55-128",
    "U55-256": "ethos-u55-256",
    "U65-256": "ethos-u65-256",
}
_NPU_OPERATOR = "CUSTOM:ethos-u"


def estimate(path: Path, accelerator: str) -> dict:
    """Compiles a .tflite file for an Ethos-U and returns Vela's own estimate.

    Args:
      path: an int8 .tflite file.
      accelerator: a key of `ACCELERATORS`.

    Returns:
      `cycles` of one inference, on the NPU and waiting for its memory (operators on the CPU are
      not counted), `sram_bytes`, and the operators that stay on the CPU, {name: count}.

    Raises:
      UserError: Vela refuses the file.

    Example:
      >>> estimate(Path("model_int8.tflite"), "U55-128")["cycles"]
    """
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ethosu.vela", str(path.resolve())),
                *("--accelerator-config", ACCELERATORS[accelerator]),
                *("--output-dir", folder),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            message = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise UserError(f"Vela refuses {path}: {message[-1] if message else 'no message'}")
        (summary,) = Path(folder).glob("*_summary_*.csv")
        (compiled,) = Path(folder).glob("*_vela.tflite")
        return {**read_summary(summary.read_text(encoding="utf-8")), "cpu": _left(compiled)}


def read_summary(text: str) -> dict[str, int]:
    """Returns the cycles and the SRAM in bytes that Vela's summary, a CSV file, names."""
    (row,) = csv.DictReader(text.splitlines())
    return {
        "cycles": round(float(row["cycles_total"])),
        "sram_bytes": round(float(row["sram_memory_used"]) * 1024),
    }


def _left(compiled: Path) -> dict[str, int]:
    return {
        name: entry["count"]
        for name, entry in operator_counts(compiled).items()
        if name != _NPU_OPERATOR
    }
