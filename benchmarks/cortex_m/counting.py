"""Counts the instructions of a model's inference in TFLite Micro on a Cortex-M that QEMU emulates.

QEMU executes one instruction a nanosecond of its own time (`boards.COUNTING`), and SysTick follows
that time. Loops of known length before each inference give the instructions of a tick.
"""

import collections
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.cortex_m.boards import COUNTING, TEMPLATES, Board, build, run_board
from common.cli import UserError
from common.tflite.micro_runtime import MicroRuntime
from common.tflite.operators import operator_counts
from converters.micro_target.flat_graph import FlatGraph
from converters.micro_target.operators import registrations

# Of a round of the loop in ticks.h.
_LOOP_INSTRUCTIONS = 3
# Beside what the host measures: buffers of CMSIS-NN, which only has to run here.
_MARGIN = 96 * 1024


@dataclass(frozen=True)
class Count:
    """What a model needs on a board.

    Attributes:
      instructions: of one inference, within those of two ticks.
      arena_bytes: of TFLite Micro's arena on the board.
      difference: the largest between the board's outputs and those of portable kernels here.
    """

    instructions: int
    arena_bytes: int
    difference: int


def count_instructions(
    content: bytes, board: Board, checkout: Path, library: Path, folder: Path
) -> Count:
    """Runs an int8 model on a board and counts.

    Args:
      content: of a .tflite file with an int8 input and output.
      board: one of `BOARDS`.
      checkout: of TFLite Micro.
      library: as `library_path` returns it.
      folder: for the program; its files are replaced.

    Raises:
      UserError: it cannot be built or run, or the board's clock does not count instructions.
    """
    runtime = MicroRuntime(content)
    (folder / "model.tflite").write_bytes(content)
    names = operator_counts(folder / "model.tflite")
    arena = runtime.arena_bytes() + _MARGIN
    header = operators_header(registrations(names, "the model"), arena)
    (folder / "operators.h").write_text(header, encoding="utf-8")
    sources = [TEMPLATES / "count.cc", TEMPLATES / "model.S"]
    program = build(board, sources, folder, (folder, TEMPLATES), checkout, library)
    printed = read_lines(run_board(board, program, COUNTING))
    rate = instructions_per_tick(printed["loop"])
    (first,), (second,) = printed["inference"]
    if abs(first - second) > 1:
        raise UserError(f"two inferences took {first} and {second} ticks on {board}, not the same")
    (expected,) = runtime.run([input_values(FlatGraph(content).input_shape)])
    found = np.ravel(printed["output"])
    return Count(
        instructions=round(second * rate),
        arena_bytes=printed["arena"][0][0],
        difference=int(np.abs(found - expected.ravel().astype(int)).max()),
    )


def input_values(shape: tuple[int, ...]) -> np.ndarray:
    """Returns the int8 numbers that count.cc fills the input with."""
    values, state = np.empty(int(np.prod(shape)), np.uint8), 1
    for index in range(len(values)):
        state = (state * 1664525 + 1013904223) % 2**32
        values[index] = state >> 24
    return values.view(np.int8).reshape(shape)


def operators_header(calls: list[str], arena_bytes: int) -> str:
    """Returns count.cc's operators.h: the resolver, what is registered in it, and the arena."""
    lines = "\n".join(
        f"  if (resolver->{call}() != kTfLiteOk) return kTfLiteError;" for call in calls
    )
    return (
        '#include <cstddef>\n\n#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"\n\n'
        f"constexpr std::size_t kArenaBytes = {arena_bytes};\n"
        f"using Resolver = tflite::MicroMutableOpResolver<{len(calls)}>;\n\n"
        "inline TfLiteStatus AddOperators(Resolver* resolver) {\n"
        f"{lines}\n  return kTfLiteOk;\n}}\n"
    )


def read_lines(text: str) -> dict[str, list[tuple[int, ...]]]:
    """Returns the numbers of each kind of line that a program prints.

    Examples:
      >>> read_lines("loop 100 7\\nloop 200 14\\narena 9")
      {'loop': [(100, 7), (200, 14)], 'arena': [(9,)]}
    """
    found = collections.defaultdict(list)
    for line in text.splitlines():
        kind, *numbers = line.split()
        found[kind].append(tuple(map(int, numbers)))
    return dict(found)


def instructions_per_tick(loops: list[tuple[int, int]]) -> float:
    """Returns how many instructions are executed while SysTick advances by one.

    Args:
      loops: rounds and ticks of loops, the longest last.

    Raises:
      UserError: the ticks do not follow the number of rounds: the clock is not the instructions'.

    Examples:
      >>> instructions_per_tick([(100_000, 7_500), (400_000, 30_000)])
      40.0
    """
    *shorter, (rounds, ticks) = loops
    rate = _LOOP_INSTRUCTIONS * rounds / max(ticks, 1)
    for fewer, counted in shorter:
        # A tick may be counted or not at each end.
        if abs(counted - _LOOP_INSTRUCTIONS * fewer / rate) > 2:
            raise UserError(
                f"the board's clock does not count instructions: {fewer} rounds of a loop took "
                f"{counted} ticks, {rounds} took {ticks}; use another version of QEMU"
            )
    return rate
