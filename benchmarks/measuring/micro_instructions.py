"""Counts instructions of inferences on Cortex-M boards in QEMU, beside MLPerf Tiny's models."""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.cortex_m.boards import BOARDS, COMPILER, QEMU, check_programs, library_path
from benchmarks.cortex_m.counting import count_instructions
from benchmarks.measuring.micro_memory import network_file, parts
from common.cli import UserError
from common.console.progress import Progress
from common.console.table import markdown_table
from converters.micro_target.fitting import fit
from converters.micro_target.settings import MemorySettings

# MLPerf Tiny's reference models by task; mlcommons/tiny has the files.
REFERENCES = {
    "MLPerf Tiny image classification": "pretrainedResnet_quant.tflite",
    "MLPerf Tiny visual wake words": "vww_96_int8.tflite",
}
_KIB = 1024


def files(networks: Sequence[str], references: Path | None, cache: Path) -> dict[tuple, bytes]:
    """Returns the files to run by (network, kind).

    Args:
      networks: such as "v2-0.5x@96:1000": the planner's name of a network, pixels and classes.
      references: folder of MLPerf Tiny's reference models, or None.
      cache: folder of converted files and measured arenas.

    Raises:
      UserError: a reference is missing.
    """
    found = {}
    for task, name in REFERENCES.items() if references else ():
        path = references / name
        if not path.is_file():
            raise UserError(f"{path} is missing; copy it from github.com/mlcommons/tiny")
        found[task, "reference"] = path.read_bytes()
    for name in networks:
        ours = network_file(name, "deployment", cache)
        found[name, "usual"] = network_file(name, "canonical", cache)
        for kind, bands in (("deployment", "off"), ("in bands", "auto")):
            fitted = fit(ours, MemorySettings(bands=bands), cache / "arenas")
            found[name, kind] = fitted.content
    return found


def check_tools(chips: Sequence[str], checkout: Path) -> dict[str, Path]:
    """Returns TFLite Micro's library for each chip.

    Raises:
      UserError: a chip is unknown, or a program or library is missing.
    """
    if unknown := sorted(set(chips) - set(BOARDS)):
        raise UserError(f"--chips must be some of {', '.join(BOARDS)}; received {unknown[0]!r}")
    check_programs()
    return {chip: library_path(checkout, BOARDS[chip]) for chip in chips}


def tool_versions() -> dict[str, str]:
    """Returns the versions of the compiler and of QEMU."""
    return {program: _version(program) for program in (COMPILER, QEMU)}


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return version_in(done.stdout)


def version_in(text: str) -> str:
    """Returns the version in what `--version` prints, which has the package's in brackets.

    Examples:
      >>> version_in("QEMU emulator version 7.2.17 (Debian 1:7.2+dfsg-7)")
      '7.2.17'
      >>> version_in("arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205")
      '12.2.1'
    """
    first = re.sub(r"\(.*?\)", "", text.partition("\n")[0])
    found = re.search(r"\d+\.\d+(\.\d+)?", first)
    return found[0] if found else first.strip()


def count_all(
    contents: dict[tuple, bytes], checkout: Path, libraries: dict[str, Path]
) -> list[dict]:
    """Returns a row for each file, with its counts by chip.

    Args:
      contents: as `files` returns them.
      checkout: of TFLite Micro.
      libraries: as `check_tools` returns them.
    """
    rows = []
    with Progress("counting", len(contents) * len(libraries), unit="file") as progress:
        for (network, kind), content in contents.items():
            counts = {}
            for chip, library in libraries.items():
                with tempfile.TemporaryDirectory() as folder:
                    counts[chip] = asdict(
                        count_instructions(content, BOARDS[chip], checkout, library, Path(folder))
                    )
                progress.update(len(rows) * len(libraries) + len(counts))
            rows.append({"network": network, "kind": kind, "bytes": len(content), "counts": counts})
    return rows


def instructions_table(rows: Sequence[dict]) -> str:
    """Returns the markdown table of what `count_all` returns."""
    chips = list(rows[0]["counts"])
    headers = ["network, file", "bytes"]
    for chip in chips:
        name = chip.upper()
        headers += [f"{name}, million instructions", "/ usual", f"{name} arena, KiB"]
    headers.append("largest difference")
    usual = {row["network"]: row["counts"] for row in rows if row["kind"] == "usual"}
    return markdown_table(headers, [_cells(row, usual.get(row["network"])) for row in rows])


def _cells(row: dict, usual: dict | None) -> list[str]:
    cells = [f"{_label(row['network'])}, {row['kind']}", f"{row['bytes']:,}"]
    for chip, count in row["counts"].items():
        share = count["instructions"] / usual[chip]["instructions"] if usual else None
        cells += [
            f"{count['instructions'] / 1e6:,.2f}",
            "-" if share is None else f"{share:.2f}",
            f"{count['arena_bytes'] / _KIB:,.1f}",
        ]
    return [*cells, str(max(count["difference"] for count in row["counts"].values()))]


def _label(network: str) -> str:
    if network in REFERENCES:
        return network
    name, size, classes = parts(network)
    return f"{name}, {size} px, {classes} classes"
