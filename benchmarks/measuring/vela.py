"""Cycles that Arm's Vela estimates for an Ethos-U, and what it leaves to the CPU."""

from pathlib import Path

from common.vela import compile_file

# By name in tables: Vela's accelerator configuration.
ACCELERATORS = {
    "U55-128": "ethos-u55-128",
    "U55-256": "ethos-u55-256",
    "U65-256": "ethos-u65-256",
}


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

    Examples:
      >>> estimate(Path("model_int8.tflite"), "U55-128")["cycles"]
    """
    found = compile_file(path, ACCELERATORS[accelerator])
    return {
        "cycles": found["cycles"]["total"],
        "sram_bytes": found["memory_bytes"]["sram"],
        "cpu": found["cpu_operators"],
    }
