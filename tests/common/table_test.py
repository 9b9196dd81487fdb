import pytest

from common.table import format_table, markdown_table


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
