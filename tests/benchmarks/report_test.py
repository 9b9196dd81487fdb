import json

import pytest

from benchmarks.report import (
    describe_run,
    markdown_table,
    replace_section,
    write_results,
)
from trainers.cli import UserError

DOCUMENT = "# Title\n<!-- latency: begin -->\nold\n<!-- latency: end -->\nrest\n"


def test_only_the_named_section_is_replaced():
    replaced = replace_section(DOCUMENT, "latency", "new")
    assert replaced == DOCUMENT.replace("old", "new")
    assert replace_section(replaced, "latency", "old") == DOCUMENT


def test_a_document_without_markers_is_named():
    with pytest.raises(UserError, match=r"lacks the lines .*cycles: begin"):
        replace_section(DOCUMENT, "cycles", "new")


def test_markdown_table():
    table = markdown_table(["network", "ms"], [["a", "1.0"], ["b", "2.0"]])
    assert table == "| network | ms |\n|---|---:|\n| a | 1.0 |\n| b | 2.0 |"


def test_a_busy_machine_is_warned_of(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (0.9, 5.0, 5.0))
    assert describe_run("command", {})["warning"] is None
    monkeypatch.setattr("os.getloadavg", lambda: (1.1, 0.0, 0.0))
    assert "1.1 processes were running on 2 cores" in describe_run("command", {})["warning"]


def test_results_go_to_a_file_and_into_the_document(tmp_path):
    document = tmp_path / "benchmarks.md"
    document.write_text(DOCUMENT, encoding="utf-8")
    run = {**describe_run("python -m x", {"keras": "3.99"}), "networks": {"v2-1x": 1}}
    write_results(tmp_path / "results", document, "latency", run, "| table |")
    assert json.loads((tmp_path / "results/latency.json").read_text())["networks"] == {"v2-1x": 1}
    text = document.read_text(encoding="utf-8")
    assert "| table |" in text and "keras 3.99" in text and "`python -m x`" in text
    assert "old" not in text and text.endswith("rest\n")
