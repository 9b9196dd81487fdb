import shutil

import numpy as np
import pytest

from benchmarks.cortex_m.boards import (
    BOARDS,
    COMPILER,
    COUNTING,
    QEMU,
    TEMPLATES,
    build,
    library_path,
    run_board,
)
from benchmarks.cortex_m.counting import (
    input_values,
    instructions_per_tick,
    operators_header,
    read_lines,
)
from benchmarks.measuring.micro_instructions import check_tools, files, instructions_table
from common.cli import UserError


@pytest.fixture
def qemu():
    for program in (COMPILER, QEMU):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, which is not installed")


@pytest.mark.medium
@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize(("chip", "rate"), [("m4", 40), ("m55", 31.25)])
def test_the_clock_counts_the_instructions_of_a_loop_of_known_length(tmp_path, chip, rate):
    program = build(BOARDS[chip], [TEMPLATES / "loop.cc"], tmp_path, [TEMPLATES])
    loops = read_lines(run_board(BOARDS[chip], program, COUNTING))["loop"]
    assert [rounds for rounds, _ in loops] == [100_000, 400_000, 1_600_000, 400_000_000]
    # A nanosecond for each instruction: 25 MHz have a tick in 40, 32 MHz in 31.25. The last loop
    # takes longer than SysTick's 24 bits.
    assert instructions_per_tick(loops) == pytest.approx(rate, rel=1e-6)
    for rounds, ticks in loops:
        assert abs(ticks * rate - 3 * rounds) < 3 * rate


@pytest.mark.medium
@pytest.mark.usefixtures("qemu")
def test_a_program_that_fails_is_reported(tmp_path):
    source = tmp_path / "fails.cc"
    source.write_text('#include <cstdio>\nint main() { std::printf("no arena\\n"); return 3; }\n')
    with pytest.raises(UserError, match=r"program\.elf fails on mps2-an386: no arena"):
        run_board(BOARDS["m4"], build(BOARDS["m4"], [source], tmp_path))
    source.write_text("int main() { return nothing; }\n")
    with pytest.raises(UserError, match=r"fails: .*'nothing' was not declared"):
        build(BOARDS["m4"], [source], tmp_path)


def test_a_clock_that_does_not_follow_the_instructions_is_refused():
    assert instructions_per_tick([(100_000, 9_601), (400_000, 38_401), (1_600_000, 153_601)]) == (
        pytest.approx(31.25, rel=1e-5)
    )
    with pytest.raises(UserError, match="does not count instructions: 100000 rounds of a loop too"):
        instructions_per_tick([(100_000, 9_000), (1_600_000, 120_000)])


def test_board_and_host_get_the_same_input():
    values = input_values((1, 2, 2, 1))
    # 1664525 + 1013904223, and so on: their highest bytes.
    expected, state = [], 1
    for _ in range(4):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        expected.append((state >> 24) - 256 * (state >> 31))
    assert values.dtype == np.int8 and values.ravel().tolist() == expected


def test_header_registers_what_the_model_has():
    text = operators_header(["AddConv2D", "AddMean"], 4096)
    assert "MicroMutableOpResolver<2>" in text and "kArenaBytes = 4096" in text
    assert text.count("resolver->Add") == 2


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match="TARGET_ARCH=cortex-m55 OPTIMIZED_KERNEL_DIR=cmsis_nn"):
        library_path(tmp_path, BOARDS["m55"])
    with pytest.raises(UserError, match="--chips must be some of m4, m7, m55; received 'm0'"):
        check_tools(["m4", "m0"], tmp_path)
    with pytest.raises(UserError, match=r"pretrainedResnet_quant\.tflite is missing; copy it from"):
        files((), tmp_path, tmp_path)


def test_table_compares_with_the_usual_conversion():
    def row(network, kind, instructions):
        count = {"instructions": instructions, "arena_bytes": 2048, "difference": 0}
        return {"network": network, "kind": kind, "bytes": 1000, "counts": {"m4": count}}

    lines = instructions_table(
        [
            row("MLPerf Tiny image classification", "reference", 3_000_000),
            row("v2-0.5x@96:1000", "usual", 2_000_000),
            row("v2-0.5x@96:1000", "in bands", 1_500_000),
        ]
    ).splitlines()
    assert lines[2] == (
        "| MLPerf Tiny image classification, reference | 1,000 | 3.00 | - | 2.0 | 0 |"
    )
    assert lines[4] == "| v2-0.5x, 96 px, 1000 classes, in bands | 1,000 | 1.50 | 0.75 | 2.0 | 0 |"
