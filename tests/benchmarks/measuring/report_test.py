import json

from benchmarks.measuring.report import Destination
from edge.provenance import describe_run

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
