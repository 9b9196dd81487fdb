import pytest

from experiments.harness.experiment import Settings
from experiments.networks.detectors import BACKBONES
from experiments.tables import detection
from experiments.tables.detection import Row, run
from experiments.training.queue import Trained

SETTINGS = {"steps": 500, "epochs": 75.0, "batch_size": 16, "input_size": 192, "data_dir": "/x"}


def row(name, *scores, **settings):
    evaluations = {
        seed: {"ap": ap, "ap50": 2 * ap, "eval_images": 87} for seed, ap in enumerate(scores)
    }
    found = Trained(name, 33_000_000, 200_000, evaluations, {**SETTINGS, **settings})
    return Row(name, 192, 22_000_000, found.macs, found.parameters, found)


@pytest.mark.parametrize(
    ("better", "worse", "words"),
    [
        ((0.30, 0.31), (0.28, 0.29), "**holds here**: AP 30.5% and 28.5%, +2.0 points, 2 seeds"),
        ((0.28, 0.29), (0.30, 0.31), "**does not hold here**"),
        ((0.28, 0.31), (0.29, 0.30), "**cannot be told here**"),
        (
            (0.40,),
            (0.20,),
            "**cannot be told here**: AP 40.0% and 20.0%, +20.0 points, 1 seed ",
        ),
    ],
)
def test_a_claim_holds_if_all_seeds_say_so(better, worse, words):
    rows = {"v2-star": row("v2-star", *better), "v2": row("v2", *worse)}
    (verdict,) = detection._verdicts(rows)
    assert verdict.startswith("v2-star is more precise than v2 (the paper, on COCO: +1.2 points)")
    assert words in verdict


def test_trainings_of_other_lengths_are_not_compared():
    rows = {"v2": row("v2", 0.3), "v1-g3": row("v1-g3", 0.2, steps=5)}
    (verdict,) = detection._verdicts(rows)
    assert "not compared" in verdict


def test_a_row_has_the_mean_of_its_seeds_and_the_papers_figure():
    cells = detection._cells(row("mobilenet-v2", 0.20, 0.22))
    assert cells[1:] == [
        *("22.00", "33.00", "200,000", "500 steps of 16", "21.0", "20.0-22.0", "42.0", "2", "20.7")
    ]


@pytest.mark.medium
def test_the_table_without_a_training_says_what_is_compared(tmp_path):
    result = run(Settings(output=tmp_path))
    table, published = result.tables
    assert [one[0] for one in table.rows] == [*BACKBONES]
    assert {(*one[4:9],) for one in table.rows} == {("-",) * 5}
    assert published.rows[0] == ["ShuffleNet 2x, g=3", "18.7", "25.0"]
    (equal,) = result.verdicts
    assert "by at most 0.6%" in equal
