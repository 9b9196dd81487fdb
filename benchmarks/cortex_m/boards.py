"""QEMU's Cortex-M boards: builds a program for one and runs it there."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.cli import UserError

TEMPLATES = Path(__file__).with_name("templates")
COMPILER, QEMU = "arm-none-eabi-g++", "qemu-system-arm"
# Time follows the instructions, one nanosecond each, and not the host's clock.
COUNTING = ("-icount", "shift=0,sleep=off")
# Messages are left out, as in a library that is built with BUILD_TYPE=release: it has no function
# that prints them.
_DEFINED = ("-DTF_LITE_STATIC_MEMORY", "-DTF_LITE_STRIP_ERROR_STRINGS")
_FLAGS = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti")
_LINKING = ("-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-Wl,--gc-sections")
_DOWNLOADS = "tensorflow/lite/micro/tools/make/downloads"
_SECONDS = 600
# Sections of board.ld, and fields of `Board`.
_ORIGINS = ("code", "model", "data")


@dataclass(frozen=True)
class Board:
    """One of QEMU's boards.

    Attributes:
      machine: QEMU's name.
      chip, fpu: the compiler's -mcpu and -mfpu.
      library: TFLite Micro's name of the chip, its Makefile's TARGET_ARCH.
      code, model, data: addresses of code, constants and variables.
    """

    machine: str
    chip: str
    fpu: str
    library: str
    code: str
    model: str
    data: str

    def __str__(self) -> str:
        return self.machine


# By the chip's short name.
BOARDS = {
    "m4": Board(
        *("mps2-an386", "cortex-m4", "fpv4-sp-d16", "cortex-m4+fp"),
        *("0x0", "0x80000", "0x20000000"),
    ),
    "m7": Board(
        *("mps2-an500", "cortex-m7", "fpv5-d16", "cortex-m7+fp"),
        *("0x0", "0x80000", "0x20000000"),
    ),
    "m55": Board(
        *("mps3-an547", "cortex-m55", "auto", "cortex-m55"),
        *("0x10000000", "0x70000000", "0x31000000"),
    ),
}


def check_programs() -> None:
    """Raises UserError if the compiler or QEMU is missing."""
    for program, package in ((COMPILER, "g++-arm-none-eabi"), (QEMU, "qemu-system-arm")):
        if shutil.which(program) is None:
            raise UserError(
                f"{program} is not on PATH; install it (Debian: apt-get install {package})"
            )


def library_path(checkout: Path, board: Board) -> Path:
    """Returns TFLite Micro's library with CMSIS-NN for a board's chip.

    Args:
      checkout: of TFLite Micro, whose Makefile has built the library (docs/micro.md).
      board: one of `BOARDS`.

    Raises:
      UserError: it is not there; the message has the command that builds it.
    """
    pattern = f"gen/cortex_m_generic_{board.library}_*cmsis_nn*/lib/libtensorflow-microlite.a"
    found = sorted(checkout.glob(pattern))
    if not found:
        raise UserError(
            f"{checkout} has no library of TFLite Micro for {board.library}; build it there: make "
            "-f tensorflow/lite/micro/tools/make/Makefile TARGET=cortex_m_generic TARGET_ARCH="
            f"{board.library} OPTIMIZED_KERNEL_DIR=cmsis_nn BUILD_TYPE=release microlite"
        )
    return found[0]


def build(
    board: Board,
    sources: Sequence[Path],
    folder: Path,
    includes: Sequence[Path] = (),
    checkout: Path | None = None,
    library: Path | None = None,
) -> Path:
    """Compiles and links a program for a board.

    Args:
      board: one of `BOARDS`.
      sources: C++ and assembler files; startup and memories are added.
      folder: for the object files and the program, which are replaced.
      includes: folders of headers.
      checkout: of TFLite Micro, for its headers; None if the program does not need it.
      library: TFLite Micro's for the board's chip.

    Returns:
      The program, an .elf file.

    Raises:
      UserError: it does not compile or link; the message has the compiler's first error.
    """
    chip = (f"-mcpu={board.chip}", "-mthumb", "-mfloat-abi=hard", f"-mfpu={board.fpu}")
    objects = []
    for source in (*sources, TEMPLATES / "startup.cc"):
        objects.append(folder / f"{source.name}.o")
        _compile(
            *(*chip, *_FLAGS, "-Os", "-ffunction-sections", *_DEFINED),
            *(f"-I{path}" for path in includes),
            *(*_headers(checkout), "-c", str(source), "-o", str(objects[-1])),
        )
    program = folder / "program.elf"
    _compile(
        *(*chip, *_LINKING, "-T", str(TEMPLATES / "board.ld")),
        *(f"-Wl,--defsym={name}_origin={getattr(board, name)}" for name in _ORIGINS),
        *map(str, objects),
        *([] if library is None else [str(library)]),
        *("-lm", "-o", str(program)),
    )
    return program


def _headers(checkout: Path | None) -> list[str]:
    if checkout is None:
        return []
    downloads = checkout / _DOWNLOADS
    paths = (checkout, downloads / "flatbuffers/include", downloads / "gemmlowp")
    return [word for path in paths for word in ("-isystem", str(path))]


def _compile(*arguments: str) -> None:
    done = subprocess.run([COMPILER, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        errors = re.findall(r".*(?:error|undefined).*", done.stderr) or [done.stderr.strip()]
        raise UserError(f"{COMPILER} fails: {errors[0]}")


def run_board(board: Board, program: Path, options: Sequence[str] = ()) -> str:
    """Returns what a program prints on a board; it ends through semihosting.

    Args:
      board: one of `BOARDS`.
      program: as `build` returns it.
      options: of QEMU, such as `COUNTING`.

    Raises:
      UserError: the program's exit code is not 0, or it does not end.
    """
    command = [
        *(QEMU, "-M", board.machine, "-nographic", *options),
        *("-semihosting-config", "enable=on,target=native", "-kernel", str(program)),
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{program.name} does not end on {board} in {_SECONDS} s") from None
    # Semihosting writes to stdout or stderr.
    text = done.stdout + done.stderr
    if done.returncode:
        raise UserError(f"{program.name} fails on {board}: {text.strip() or done.returncode}")
    return text
