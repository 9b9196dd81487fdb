"""Compiles a .tflite file for Arm's Ethos-U with Vela, and reads Vela's own estimate.

No device runs: cycles and memory are the compiler's model of one.
"""

import csv
import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common.cli import UserError
from common.files import stored_file
from common.tflite.operators import operator_counts

# Vela's accelerator configurations: the NPU and its multiply-adds per cycle.
ACCELERATORS = (
    *("ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256"),
    *("ethos-u65-256", "ethos-u65-512"),
    *("ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048"),
)
SUFFIX = "_vela.tflite"
SLOWEST = 10
_PACKAGE = "ethos-u-vela"
_NPU_OPERATOR = "CUSTOM:ethos-u"
_CYCLES = "cycles_"
_MEMORY = "_memory_used"


def vela_version() -> str:
    """Returns Vela's version.

    Raises:
      UserError: it is not installed.
    """
    try:
        return importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            f"Vela ({_PACKAGE}) is not installed; pip install 'keras_shufflenet[ethosu]'"
        ) from error


def compile_file(path: Path, accelerator: str, output: Path | None = None) -> dict:
    """Compiles a file for an Ethos-U.

    Args:
      path: an int8 .tflite file.
      accelerator: one of `ACCELERATORS`.
      output: where to keep the compiled file; None discards it.

    Returns:
      Vela's estimate, as in the manifest's field `ethosu` (docs/artifact.md): `cycles` and
      `memory_bytes` by what they are spent on, `npu_operators` (a number), `cpu_operators`
      {name: count}, the `slowest` layers, and Vela's settings.

    Raises:
      UserError: Vela is not installed, or refuses the file.

    Examples:
      >>> compile_file(Path("model_int8.tflite"), "ethos-u55-128")["cycles"]["total"]
      2506776
    """
    version = vela_version()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run_vela(path, accelerator, folder)
        compiled = _only(folder, "*_vela.tflite")
        on_cpu = _left(compiled)
        total = sum(entry["count"] for entry in operator_counts(path).values())
        estimate = {
            "accelerator": accelerator,
            "vela": version,
            **read_summary(_only(folder, "*_summary_*.csv").read_text(encoding="utf-8")),
            "npu_operators": total - sum(on_cpu.values()),
            "cpu_operators": on_cpu,
            "slowest": read_layers(_only(folder, "*_per-layer.csv").read_text(encoding="utf-8")),
        }
        if output is not None:
            shutil.copyfile(compiled, output)
    return estimate


def describe(path: Path, accelerator: str) -> dict:
    """Returns a file's field `ethosu` for the manifest and writes `NAME_vela.tflite` next to it.

    Raises:
      UserError: Vela is not installed, or refuses the file.
    """
    output = path.with_name(path.stem + SUFFIX)
    estimate = compile_file(path, accelerator, output)
    return {**estimate, "compiled": {"name": output.name, **stored_file(output)}}


def read_summary(text: str) -> dict:
    """Reads Vela's summary, a CSV file of one row.

    Returns:
      `cycles` and `memory_bytes` as {purpose: number}, `system_config`, `memory_mode` and
      `clock_hz`.

    Examples:
      >>> read_summary(text)["memory_bytes"]["sram"]
      553104
    """
    (row,) = csv.DictReader(text.splitlines())
    return {
        "system_config": row["system_config"],
        "memory_mode": row["memory_mode"],
        "clock_hz": round(float(row["core_clock"])),
        "cycles": {
            key.removeprefix(_CYCLES): round(float(value))
            for key, value in row.items()
            if key.startswith(_CYCLES)
        },
        "memory_bytes": {
            key.removesuffix(_MEMORY): round(float(value) * 1024)
            for key, value in row.items()
            if key.endswith(_MEMORY)
        },
    }


def read_layers(text: str, most: int = SLOWEST) -> list[dict]:
    """Returns the slowest layers from Vela's CSV file of all layers, slowest first."""
    layers = [
        {
            "name": row["Name"],
            "operator": row["Original Operator"],
            "cycles": round(float(row["Op Cycles"])),
            "macs": round(float(row["MAC Count"])),
        }
        for row in csv.DictReader(text.splitlines())
    ]
    return sorted(layers, key=lambda layer: layer["cycles"], reverse=True)[:most]


def summary(entry: dict) -> str:
    """Returns one line about a compiled file for the terminal.

    Args:
      entry: the field `ethosu` of the file's entry in the manifest.
    """
    left = ", ".join(f"{count} {name}" for name, count in entry["cpu_operators"].items())
    return (
        f"{entry['accelerator']}, Vela's estimate: {entry['cycles']['total']:,} cycles, "
        f"{entry['memory_bytes']['sram']:,} bytes of SRAM, {entry['npu_operators']} operators on "
        f"the NPU, on the CPU {left or 'none'}"
    )


def _run_vela(path: Path, accelerator: str, folder: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ethosu.vela", str(path.resolve())),
            *("--accelerator-config", accelerator, "--output-dir", str(folder)),
            "--verbose-performance",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        message = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UserError(f"Vela refuses {path}: {message[-1] if message else 'no message'}")


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise UserError(
            f"Vela wrote {len(found)} files like {pattern}, not one; install another version: "
            "pip install 'keras_shufflenet[ethosu]'"
        )
    return found[0]


def _left(compiled: Path) -> dict[str, int]:
    return {
        name: entry["count"]
        for name, entry in operator_counts(compiled).items()
        if name != _NPU_OPERATOR
    }
