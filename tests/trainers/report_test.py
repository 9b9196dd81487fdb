import json
import re

import pytest

from common.cli import UserError
from trainers.recipes import make_config
from trainers.reporting import page as report_page
from trainers.reporting import runs as report_data

EVALUATIONS = [
    {"step": 0, "epoch": 0.0, "train_loss": None, "eval_loss": 2.4, "top1": 0.1, "top5": 0.5,
     "eval_images": 360, "images_per_second": None},
    {"step": 45, "epoch": 1.0, "train_loss": 1.5, "eval_loss": 0.9, "top1": 0.75, "top5": 0.9,
     "eval_images": 360, "images_per_second": 700.0},
    {"step": 90, "epoch": 2.0, "train_loss": 1.1, "eval_loss": 1.0, "top1": 0.5, "top5": 0.95,
     "eval_images": 360, "images_per_second": 800.0},
]  # fmt: skip


@pytest.fixture
def make_run(tmp_path):
    """Writes a workdir like that of a training: `make_run("a", records, seed=1)`."""

    def make(name, records=EVALUATIONS, **overrides):
        workdir = tmp_path / name
        workdir.mkdir()
        make_config("digits", str(workdir), overrides).save(workdir)
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (workdir / "metrics.jsonl").write_text(lines)
        return workdir

    return make


def page_of(workdirs, tmp_path):
    report_page.write_report(workdirs, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text()


def test_final_numbers_and_the_best(make_run):
    table = report_page.results(report_data.read_runs([make_run("a"), make_run("b", [])]))
    first, second = (dict(zip(table["headers"], row, strict=True)) for row in table["rows"])
    assert first["top-1, last"] == "50.00%"
    assert first["top-1, best (step)"] == "75.00% (45)"
    assert (first["step"], first["epoch"], first["images evaluated"]) == ("90", "2", "360")
    assert (first["loss in evaluation"], first["images/s, median"]) == ("1.0000", "750")
    assert (second["step"], second["top-1, best (step)"]) == ("-", "-")


def test_detectors_are_compared_by_average_precision(make_run):
    records = [
        {"step": step, "epoch": 1.0, "train_loss": 1.0, "ap": ap, "ap50": 0.6, "eval_images": 9}
        for step, ap in ((5, 0.25), (10, 0.125))
    ]
    runs = report_data.read_runs([make_run("a", records), make_run("b")])
    assert not runs[0].warnings
    table = report_page.results(runs)
    first, second = (dict(zip(table["headers"], row, strict=True)) for row in table["rows"])
    assert (first["AP, best (step)"], first["AP, last"]) == ("25.00% (5)", "12.50%")
    assert (first["top-1, best (step)"], second["AP, best (step)"]) == ("-", "-")
    assert {"ap", "ap50", "top1"} <= report_page.curves(runs).keys()
    headers = report_page.results(runs[:1])["headers"]
    assert "AP50, last" in headers and not any("top" in name for name in headers)


def test_a_top5_is_shown_of_runs_with_more_than_ten_classes(make_run):
    few, many = make_run("few"), make_run("many")
    for workdir, classes in ((few, 10), (many, 11)):
        (workdir / "labels.txt").write_text("".join(f"{n}\n" for n in range(classes)))
    runs = report_data.read_runs([few, many])
    table = report_page.results(runs)
    column = table["headers"].index("top-5, last")
    assert [row[column] for row in table["rows"]] == ["-", "95.00%"]
    assert [len(trace.x) for trace in report_page.curves(runs)["top5"].data] == [0, 3]
    alone = report_page.results(runs[:1])
    assert "top-5, last" not in alone["headers"]
    assert {len(row) for row in alone["rows"]} == {len(alone["headers"])}
    assert "top5" not in report_page.curves(runs[:1])


def test_only_settings_that_differ_are_set_side_by_side(make_run):
    runs = report_data.read_runs([make_run("a"), make_run("b", learning_rate=0.5, seed=3)])
    default = runs[0].settings["learning_rate"]
    assert report_data.differing(runs, "settings") == {
        "learning_rate": [default, 0.5],
        "seed": [0, 3],
    }
    assert report_data.differing(runs, "versions") == {}


def test_a_setting_that_one_version_does_not_have_differs(make_run):
    old = make_run("old")
    record = json.loads((old / "config.json").read_text())
    del record["config"]["cutmix"]
    record["versions"]["keras"] = "3.0"
    (old / "config.json").write_text(json.dumps(record))
    runs = report_data.read_runs([old, make_run("new")])
    assert report_data.differing(runs, "settings") == {"cutmix": [None, 0.0]}
    assert [values[0] for values in report_data.differing(runs, "versions").values()] == ["3.0"]


def test_curves_show_the_recorded_evaluations(make_run):
    figures = report_page.curves(report_data.read_runs([make_run("a"), make_run("b", [])]))
    assert set(figures) == {"top1", "top5", "eval_loss", "train_loss", "images_per_second"}
    a, b = figures["top1"].data
    assert (a.x, a.y) == ((0.0, 1.0, 2.0), (10.0, 75.0, 50.0))
    assert b.x == ()
    # The loss before the first step is not known.
    assert figures["train_loss"].data[0].x == (1.0, 2.0)


def test_the_page_needs_no_other_file(make_run, tmp_path):
    page = page_of([make_run("a"), make_run("b", seed=3)], tmp_path)
    assert page.count("plotly.js v") == 1
    assert page.count('id="plot-') == 5
    assert re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?!data:)', page) == []
    assert re.search(r"<td class=\"text\">seed</td><td>0</td><td>3</td>", page)


def test_names_cannot_break_the_page(make_run, tmp_path):
    page = page_of([make_run("<script>alert(1)")], tmp_path)
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"step": 135, "ep', "killed"),
        ("[]\n", "not an evaluation"),
        ('{"step": 135, "epoch": 3.0}\n', "not an evaluation"),
        ("\x00\n", "not an evaluation"),
    ],
)
def test_a_damaged_line_is_named_and_skipped(make_run, tmp_path, capsys, line, reason):
    workdir = make_run("a")
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write(line)
    assert len(report_data.read_run(workdir).records) == 3
    page = page_of([workdir], tmp_path)
    warning = capsys.readouterr().err
    assert f"{workdir / 'metrics.jsonl'}:4 is not an evaluation" in warning
    assert reason in warning
    assert "metrics.jsonl:4 is not an evaluation" in page


def test_values_of_another_type_cost_themselves_alone(make_run, tmp_path):
    workdir = make_run("a")
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 500, "epoch": 3.0, "top1": 0.5, "train_loss": "low", "top5": [1]}\n')
        file.write('{"step": 600, "epoch": NaN, "top1": 0.5}\n')
    assert len(report_data.read_run(workdir).records) == 4
    assert "metrics.jsonl:5 is not an evaluation" in page_of([workdir], tmp_path)


def test_a_run_without_evaluations_is_shown_with_its_settings(make_run, tmp_path, capsys):
    workdir = make_run("a")
    (workdir / "metrics.jsonl").unlink()
    page = page_of([workdir], tmp_path)
    assert "has no metrics.jsonl: nothing was evaluated yet" in capsys.readouterr().err
    assert "Nothing was evaluated yet." in page
    assert "label_smoothing" in page


def test_a_folder_that_is_not_a_workdir_is_refused(make_run, tmp_path):
    with pytest.raises(UserError, match=r"nothing is not a training folder.*name the --workdir"):
        report_data.read_runs([make_run("a"), tmp_path / "nothing"])


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"config": 1}'])
def test_damaged_settings_name_the_file(make_run, content):
    workdir = make_run("a")
    (workdir / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        report_data.read_run(workdir)


def test_a_run_is_compared_with_others(make_run):
    workdir = make_run("a")
    with pytest.raises(UserError, match="named twice"):
        report_data.read_runs([workdir, workdir.parent / "." / "a"])


def test_the_command(make_run, run_cli, tmp_path):
    done = run_cli("trainers.report", make_run("a"), make_run("b"), "--output=page.html")
    assert done.stdout == "2 runs are compared in page.html\n"
    assert (tmp_path / "page.html").stat().st_size > 1e6
    none = run_cli("trainers.report", check=False)
    assert none.returncode == 1
    assert none.stderr.startswith("error: no workdir is named")
