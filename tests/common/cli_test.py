"""What commands print: errors, progress and tables, and what is kept off the screen."""

import errno
import io
import os
import re
import sys

import pytest

from common.cli import explain_os_error
from common.console import progress
from common.console.quiet import captured_stderr, quiet_stderr
from common.console.table import format_table, markdown_table


def test_a_full_disk_is_told_with_place_and_remedy():
    told = explain_os_error(OSError(errno.ENOSPC, "No space left on device", "/data/model.keras"))
    assert told == (
        "No space left on device '/data/model.keras'; free some space or name another folder"
    )


def test_an_error_without_a_file_is_told_too():
    assert explain_os_error(OSError(errno.EIO, "I/O error")).startswith("I/O error; check")


def updates(monkeypatch, terminal, seconds_per_step):
    screen, clock = io.StringIO(), [0.0]
    screen.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with progress.Progress("training", total=1000, start=100) as shown:
        for step in range(1, 101):
            clock[0] += seconds_per_step
            shown.update(100 + 9 * step, loss=1.23456)
    return screen.getvalue()


def test_a_log_gets_a_line_now_and_then(monkeypatch, capsys):
    updates(monkeypatch, terminal=False, seconds_per_step=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    pattern = r"training: 235/1000 images \(24%\), 9 images/s, 01:25 left, loss 1.235"
    assert re.fullmatch(pattern, lines[0])


def test_a_log_is_not_flooded_by_fast_steps(monkeypatch, capsys):
    assert updates(monkeypatch, terminal=False, seconds_per_step=0.01) == ""
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    bar = updates(monkeypatch, terminal=True, seconds_per_step=1)
    assert "training" in bar and "1.00k/1.00k" in bar and "loss=1.235" in bar
    assert capsys.readouterr().out == ""


def test_what_c_prints_is_turned_away_and_the_screen_comes_back(capfd):
    with quiet_stderr():
        os.write(2, b"chatter\n")
    os.write(2, b"news\n")
    assert capfd.readouterr().err == "news\n"


def test_what_c_prints_is_caught(capfd):
    with captured_stderr() as notes:
        os.write(2, b"one\n\xff\n")
    os.write(2, b"news\n")
    assert notes == ["one\n\N{REPLACEMENT CHARACTER}\n"]
    assert capfd.readouterr().err == "news\n"


def test_the_screen_comes_back_after_an_error(capfd):
    with pytest.raises(KeyError), captured_stderr() as notes:
        os.write(2, b"before it\n")
        raise KeyError
    os.write(2, b"news\n")
    assert notes == ["before it\n"]
    assert capfd.readouterr().err == "news\n"


def test_text_stands_left_and_numbers_right():
    table = format_table(
        ["file", "device", "ms"],
        [["model_int8.tflite", "host", "1.25"], ["b", "micro-sim", "130.5"]],
    )
    assert table.splitlines() == [
        "file               device        ms",
        "model_int8.tflite  host        1.25",
        "b                  micro-sim  130.5",
    ]


def test_headers_alone_are_a_table():
    assert format_table(["file", "device"], []) == "file  device"


def test_row_of_another_length_is_named():
    with pytest.raises(ValueError, match="rows must have 2 cells, received: \\['a'\\]"):
        format_table(["file", "device"], [["a"]])


def test_markdown_table():
    table = markdown_table(["network", "ms"], [["a", "1.0"], ["b", "2.0"]])
    assert table == "| network | ms |\n|---|---:|\n| a | 1.0 |\n| b | 2.0 |"
