import json
from dataclasses import dataclass, field

import pytest
from matplotlib.figure import Figure

from common.cli import UserError
from experiments.command import perform
from experiments.harness.catalogue import EXPERIMENTS, Experiment
from experiments.harness.experiment import Picture, Result, Settings, Table
from experiments.harness.results import load, to_text
from experiments.measuring.devices import unfinished_path
from experiments.series import SeriesConfig, run_series

DOCUMENT = "# Title\n<!-- toy: begin -->\nstale\n<!-- toy: end -->\nrest\n"


@dataclass(frozen=True)
class Toy(Experiment):
    """An experiment that counts how often it runs."""

    runs: list = field(default_factory=list)
    error: str = ""

    def run(self, settings):
        if self.error:
            raise UserError(self.error)
        self.runs.append(settings)
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot([1, 2])
        return Result(
            tables=[Table("A <table>", ["", "ms"], [["v2", "1.5"]], "a `note`")],
            verdicts=["It **holds**."],
            pictures=[Picture("line", "A line", figure)],
            data={"ms": 1.5},
        )


@pytest.fixture
def toy(monkeypatch):
    experiment = Toy("toy", "Toys & co", "V2 Table 9")
    monkeypatch.setitem(EXPERIMENTS, "toy", experiment)
    return experiment


def settings(tmp_path, **changes):
    return Settings(output=tmp_path / "results", **changes)


def test_a_result_is_written_with_all_that_it_depends_on(toy, tmp_path, capsys):
    folder = tmp_path / "results"
    folder.mkdir()
    unfinished_path(folder, "toy").touch()
    perform("toy", settings(tmp_path), command="python -m experiments.toy")
    record = load(folder, "toy")
    assert record["data"] == {"ms": 1.5} and record["run"]["command"] == "python -m experiments.toy"
    assert record["run"]["versions"]["keras"] and record["settings"]["device"] == "host"
    assert "v2  1.5" in to_text(record) and "v2  1.5" in capsys.readouterr().out
    text = (folder / "toy.md").read_text()
    assert "| v2 | 1.5 |" in text and "![A line](toy_line.svg)" in text
    assert "<svg" in (folder / "toy_line.svg").read_text()
    assert not unfinished_path(folder, "toy").exists()


def test_pictures_are_the_same_every_time(toy, tmp_path):
    path = tmp_path / "results" / "toy_line.svg"
    perform("toy", settings(tmp_path))
    first = path.read_bytes()
    perform("toy", settings(tmp_path))
    assert path.read_bytes() == first


def test_what_is_done_is_kept(toy, tmp_path):
    run_series(SeriesConfig(settings(tmp_path), ["toy"]))
    run_series(SeriesConfig(settings(tmp_path), ["toy"]))
    assert len(toy.runs) == 1
    run_series(SeriesConfig(settings(tmp_path), ["toy"], fresh=True))
    run_series(SeriesConfig(settings(tmp_path, passes=3), ["toy"]))
    assert len(toy.runs) == 3


def test_a_failure_does_not_stop_the_others(monkeypatch, toy, tmp_path):
    monkeypatch.setitem(EXPERIMENTS, "bad", Toy("bad", "Bad", "V1", error="no phone"))
    with pytest.raises(UserError, match=r"bad: no phone\. Finished results are in .*index\.html"):
        run_series(SeriesConfig(settings(tmp_path), ["bad", "toy"]))
    page = (tmp_path / "results" / "index.html").read_text()
    assert "bad: no phone" in page and "Toys &amp; co" in page


def test_the_page_needs_no_other_file(toy, tmp_path):
    page = run_series(SeriesConfig(settings(tmp_path), ["toy"])).read_text()
    assert (
        "A &lt;table&gt;" in page and "It <b>holds</b>." in page and "a <code>note</code>" in page
    )
    assert 'src="data:image/svg+xml;base64,' in page
    # Without plots the page lacks plotly.js, which has several megabytes.
    assert len(page) < 100_000


def test_the_page_s_section_is_replaced(toy, tmp_path):
    page = tmp_path / "experiments/toy.md"
    page.parent.mkdir()
    page.write_text(DOCUMENT)
    run_series(SeriesConfig(settings(tmp_path), ["toy"], document=page.parent))
    text = page.read_text()
    assert "![A line](toy_line.svg)" in text and "stale" not in text and text.endswith("rest\n")
    assert "[toy.json](toy.json)" in text
    assert (page.parent / "toy_line.svg").is_file() and (page.parent / "toy.json").is_file()


def test_a_page_without_the_section_is_refused_at_once(toy, tmp_path):
    with pytest.raises(UserError, match=r"toy\.md does not exist"):
        SeriesConfig(settings(tmp_path), ["toy"], document=tmp_path)
    (tmp_path / "toy.md").write_text("# Title\n")
    with pytest.raises(UserError, match=r"lacks the lines .*toy: begin"):
        SeriesConfig(settings(tmp_path), ["toy"], document=tmp_path)
    assert not toy.runs


def test_unknown_experiments_are_reported(toy, tmp_path):
    with pytest.raises(UserError, match="there is no experiment 'nothing'; there are complexity,"):
        SeriesConfig(settings(tmp_path), ["toy", "nothing"])


@pytest.mark.parametrize(
    "content", ["{", json.dumps({"schema_version": 0}), json.dumps({"schema_version": 1}), "[]"]
)
def test_a_damaged_result_is_named(tmp_path, content):
    (tmp_path / "toy.json").write_text(content)
    message = r"toy\.json (is not|cannot be read) .*; remove it and run again"
    with pytest.raises(UserError, match=message):
        load(tmp_path, "toy")


def test_every_experiment_s_code_exists():
    from importlib.util import find_spec

    for experiment in EXPERIMENTS.values():
        assert find_spec(experiment.module) and find_spec(f"experiments.{experiment.name}")
