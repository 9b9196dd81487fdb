import json

import pytest

from benchmarks.training.trainings import accuracy_table

CONVERSIONS = (
    "canonical PTQ",
    "deployment PTQ, minmax",
    "deployment PTQ, percentile",
    "deployment PTQ, mse",
    "deployment QAT",
)
RESULT = {
    "float": 0.875,
    "converted": {name: {"accuracy": 0.87, "argmax": 0.9812} for name in CONVERSIONS},
    "qat_epochs": 2,
    "qat_step_cost": 1.5,
}


def test_the_table_has_the_change_in_points_and_the_agreement():
    table = accuracy_table({"v2-0.5x": RESULT, "v1-0.5x-g3": {**RESULT, "float": 0.86}})
    lines = table.splitlines()
    assert lines[0] == "|  | v2-0.5x | v1-0.5x-g3 |"
    assert lines[2] == "| float | 87.50% | 86.00% |"
    assert "| canonical PTQ | 87.00% (-0.50; 98.12%) | 87.00% (+1.00; 98.12%) |" in lines
    assert lines[-1].endswith("| 2 epochs, 1.50x | 2 epochs, 1.50x |")


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("accuracy", ["--networks=mobilenet-v2"], "there are v2-0.5x, v1-0.5x-g3\n"),
        ("accuracy_tradeoff", ["--networks=v3"], "there are v2-0.5x, v1-0.5x-g3, mobilenet-v2\n"),
    ],
)
def test_an_unknown_network_is_one_line(run_cli, tmp_path, command, arguments, message):
    (tmp_path / "b.md").write_text("")
    done = run_cli(f"benchmarks.{command}", *arguments, "--document=b.md", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: there is no network")
    assert done.stderr.endswith(message) and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_small_run_writes_both_results(run_cli, digits_folder, tmp_path):
    (tmp_path / "b.md").write_text("<!-- accuracy: begin -->\n<!-- accuracy: end -->\n")
    run_cli(
        "benchmarks.accuracy", "--networks=v2-0.5x", "--dataset=folder", "--epochs=1",
        f"--data_dir={digits_folder}", "--qat_epochs=1", "--document=b.md", "--output=results",
        timeout=1800,
    )  # fmt: skip
    (result,) = json.loads((tmp_path / "results" / "accuracy.json").read_text())[
        "networks"
    ].values()
    assert result["images"] == 30
    assert set(result["converted"]) == set(CONVERSIONS)
    assert "deployment QAT" in (tmp_path / "b.md").read_text()
