"""The results of benchmarks: files, tables, and the document's section."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measuring import small_devices
from benchmarks.measuring.latencies import latency_table, summarize
from benchmarks.measuring.results import Destination, full_range, installed_versions
from benchmarks.measuring.small_devices import comparison_table
from common.cli import UserError
from edge.provenance import describe_run
from edge.running.measurement import statistics

DOCUMENT = "# Title\n<!-- latency: begin -->\nold\n<!-- latency: end -->\nrest\n"


def test_results_go_to_a_file_and_into_the_document(tmp_path):
    document = tmp_path / "benchmarks.md"
    document.write_text(DOCUMENT, encoding="utf-8")
    run = {**describe_run("python -m x", {"keras": "3.99"}), "networks": {"v2-1x": 1}}
    destination = Destination("latency", tmp_path / "results", document, "python -m x")
    destination.write(run, "| table |")
    assert json.loads((tmp_path / "results/latency.json").read_text())["networks"] == {"v2-1x": 1}
    text = document.read_text(encoding="utf-8")
    assert "| table |" in text and "keras 3.99" in text and "`python -m x`" in text
    assert "old" not in text and text.endswith("rest\n")


def test_few_rounds_are_shown_with_their_range():
    assert full_range([1.5, 1.7, 1.4], 1, unit="x") == "**1.5x** (1.4-1.7)"


def test_missing_packages_are_named_with_the_remedy():
    assert set(installed_versions(["keras", "numpy"], "")) == {"keras", "numpy"}
    with pytest.raises(UserError, match=r"^not installed: no-such, nor-this; pip install them$"):
        installed_versions(["keras", "no-such", "nor-this"], "pip install them")


def summary(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(b"12345")
    # Two rounds, the second one twice as slow for all.
    return summarize(paths, np.array([[3.0, 6.0], [2.0, 4.0], [1.0, 2.0]]))


def test_ratios_are_of_the_same_round(tmp_path):
    values = summary(tmp_path)
    assert values["canonical_to_deployment"] == {"median": 1.5, "p10": 1.5, "p90": 1.5}
    assert values["deployment_to_floor"] == {"median": 2.0, "p10": 2.0, "p90": 2.0}
    assert values["graphs"]["canonical"] == {**statistics([3.0, 6.0]), "bytes": 5}


def test_table(tmp_path):
    last = latency_table({"v2-1x": summary(tmp_path)}).splitlines()[-1]
    assert last == (
        "| v2-1x | 4.500 (3.300-5.700) | 3.000 (2.200-3.800) | 1.500 (1.100-1.900) "
        "| **1.50x** (1.50-1.50) | 2.00 (2.00-2.00) |"
    )


def test_table_names_what_stays_on_the_cpu():
    estimate = {"cycles": 2_500_000, "sram_bytes": 1, "cpu": {"GATHER": 2}}
    row = {
        "network": "v2-1x",
        "graph": "canonical",
        "micro": {"arena_bytes": 2048, "simulated_ms": {"min": 1234.0}},
        "ethosu": {"U55-128": estimate, "U55-256": estimate, "U65-256": estimate},
    }
    last = comparison_table([row]).splitlines()[-1]
    assert last == "| v2-1x, canonical | 2 | 1,234 | 2.50 | 2.50 | 2.50 | 2 GATHER |"


def test_an_estimate_is_vela_s_total_for_the_accelerator(monkeypatch):
    found = {
        "cycles": {"npu": 7, "total": 9},
        "memory_bytes": {"sram": 512, "dram": 3},
        "cpu_operators": {"GATHER": 1},
    }
    asked = []
    monkeypatch.setattr(
        small_devices, "compile_file", lambda *request: asked.append(request) or found
    )
    expected = {"cycles": 9, "sram_bytes": 512, "cpu": {"GATHER": 1}}
    assert small_devices.estimate(Path("net.tflite"), "U65-256") == expected
    assert asked == [(Path("net.tflite"), "ethos-u65-256")]
