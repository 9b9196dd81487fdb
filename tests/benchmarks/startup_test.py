import json
import time

import pytest

from benchmarks.startup import first_step_time, startup_table
from common.cli import UserError


def test_each_recipe_has_a_line():
    times = {"seconds": [9.0, 12.0, 10.0], "cpu_seconds": [20.0, 21.5, 30.0]}
    assert startup_table({"cifar10": times}).splitlines()[2:] == [
        "| cifar10 | **10.0** (9.0-12.0) | 21.5 |"
    ]


def test_a_workdir_without_a_step_is_an_error(tmp_path):
    with pytest.raises(UserError, match="tensorboard has no training step"):
        first_step_time(tmp_path)


@pytest.mark.slow
def test_a_start_is_measured(run_cli, digits_folder, tmp_path):
    (tmp_path / "b.md").write_text("<!-- startup: begin -->\n<!-- startup: end -->\n")
    begin = time.monotonic()
    run_cli(
        "benchmarks.startup", "--recipes=folder", "--dataset=folder",
        f"--data_dir={digits_folder}", "--eval_split=test", "--turns=1", f"--output={tmp_path}",
        f"--document={tmp_path / 'b.md'}",
    )  # fmt: skip
    run = json.loads((tmp_path / "startup.json").read_text())
    (seconds,) = run["recipes"]["folder"]["seconds"]
    assert 1 < seconds < time.monotonic() - begin
    assert "| folder | **" in (tmp_path / "b.md").read_text()
