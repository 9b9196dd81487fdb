"""Compiles a .tflite file for Arm's Ethos-U with Vela, and reads Vela's own estimate.

No device runs: cycles and memory are the compiler's model of one.
"""

import csv
import dataclasses
import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common.cli import UserError
from common.files import stored_file
from common.tflite.operators import operator_counts, read_operators
from common.tflite.vela_settings import VelaSettings, check_settings, clock, milliseconds

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


def compile_file(
    path: Path,
    accelerator: str,
    output: Path | None = None,
    settings: VelaSettings | None = None,
) -> dict:
    """Compiles a file for an Ethos-U.

    Args:
      path: an int8 .tflite file.
      accelerator: one of `ACCELERATORS`.
      output: where to keep the compiled file; None discards it.
      settings: what else Vela is told; by default Vela's own defaults.

    Returns:
      Vela's estimate, as in the manifest's field `ethosu` (docs/artifact.md): `cycles` and
      `memory_bytes` by what they are spent on, `npu_operators` (a number), `cpu_operators`
      {name: count}, the `slowest` layers, and Vela's settings.

    Raises:
      UserError: Vela is not installed, does not know a setting, or refuses the file, or nothing of
        it would run on the NPU because it computes in float32.

    Examples:
      >>> compile_file(Path("model_int8.tflite"), "ethos-u55-128")["cycles"]["total"]
      2506776
    """
    settings = settings or VelaSettings()
    version = vela_version()
    check_settings(accelerator, settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run_vela(path, accelerator, settings, folder)
        compiled = _only(folder, "*_vela.tflite")
        on_cpu = _left(compiled)
        total = sum(entry["count"] for entry in operator_counts(path).values())
        estimate = {
            "accelerator": accelerator,
            "vela": version,
            "optimise": settings.optimise or "performance",
            "arena_limit": settings.arena_limit,
            **read_summary(_only(folder, "*_summary_*.csv").read_text(encoding="utf-8")),
            "npu_operators": total - sum(on_cpu.values()),
            "cpu_operators": on_cpu,
            "slowest": read_layers(_only(folder, "*_per-layer.csv").read_text(encoding="utf-8")),
        }
        if not estimate["npu_operators"] and _is_float(path):
            raise UserError(
                f"{path} computes in float32, of which an Ethos-U runs nothing; give Vela an "
                "integer file, such as that of --quantization=int8-ptq"
            )
        if output is not None:
            shutil.copyfile(compiled, output)
    return estimate


def compile_within(
    path: Path, accelerator: str, settings: VelaSettings, output: Path | None = None
) -> dict:
    """Compiles a file as `compile_file` does, and insists on the limit of the settings.

    Vela takes the limit for a wish. Where its SRAM is a cache of the DRAM, it keeps it.

    Raises:
      UserError: as `compile_file` does, or the file needs more SRAM; the message names the least.
    """
    estimate = compile_file(path, accelerator, output, settings)
    limit, used = settings.arena_limit, estimate["memory_bytes"]["sram"]
    if limit is None or used <= limit:
        return estimate
    small = dataclasses.replace(settings, optimise="size", arena_limit=None)
    smallest = compile_file(path, accelerator, None, small)["memory_bytes"]["sram"]
    raise UserError(
        f"{path.name} needs {used:,} bytes of SRAM on {accelerator}, more than "
        f"--arena_limit={limit}; the smallest that Vela reaches is {min(used, smallest):,} bytes: "
        "raise the limit, or choose a smaller network or image"
    )


def describe(path: Path, accelerator: str, settings: VelaSettings | None = None) -> dict:
    """Returns a file's field `ethosu` for the manifest and writes `NAME_vela.tflite` next to it.

    Raises:
      UserError: as `compile_within` does.
    """
    output = path.with_name(path.stem + SUFFIX)
    estimate = compile_within(path, accelerator, settings or VelaSettings(), output)
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
        f"{milliseconds(entry):,.2f} ms at {clock(entry['clock_hz'])} ({entry['system_config']}, "
        f"{entry['memory_mode']}, {entry['optimise']}), "
        f"{entry['memory_bytes']['sram']:,} bytes of SRAM{_dram(entry)}, {entry['npu_operators']} "
        f"operators on the NPU, on the CPU {left or 'none'}"
    )


def _dram(entry: dict) -> str:
    # Of a U55, the weights are in flash, and there is none.
    used = entry["memory_bytes"].get("dram", 0)
    return f", {used:,} bytes of DRAM" if used else ""


def _is_float(path: Path) -> bool:
    return any(
        tensor.dtype == "float32"
        for operator in read_operators(path).operators
        for tensor in operator.outputs
    )


def _run_vela(path: Path, accelerator: str, settings: VelaSettings, folder: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ethosu.vela", str(path.resolve())),
            *("--accelerator-config", accelerator, "--output-dir", str(folder)),
            *("--verbose-performance", *settings.arguments()),
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
