import pytest

from experiments.training.accuracies import accuracy_table, as_json, compare, verdict
from experiments.training.queue import Accuracy


def reached(name, *top1, images=10_000, **settings):
    defaults = {"recipe": "cifar10", "optimizer": "sgd", "epochs": 10.0, "steps": None}
    settings = {**defaults, "data_dir": "/d", **settings}
    return Accuracy(name, 1_000_000, 2000, images, dict(enumerate(top1)), settings)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # Two standard errors of the difference of 80% and 81% are 1.1 points.
        ((0.80,), (0.78,), True),
        ((0.78,), (0.80,), False),
        ((0.80,), (0.795,), None),
        ((0.80, 0.81, 0.82), (0.77, 0.78, 0.79), True),
        ((0.77, 0.78, 0.79), (0.80, 0.81, 0.82), False),
        ((0.80, 0.81, 0.82), (0.77, 0.78, 0.805), None),
    ],
)
def test_networks_are_distinguished_if_the_numbers_allow_it(first, second, expected):
    assert compare(reached("a", *first), reached("b", *second)) is expected


def test_few_images_decide_less():
    assert compare(reached("a", 0.80, images=100), reached("b", 0.78, images=100)) is None


def test_a_verdict_has_both_figures_and_the_papers():
    text = verdict("Shuffling helps", reached("with", 0.82), reached("without", 0.79), 1.3)
    assert text.startswith("Shuffling helps (the paper, on ImageNet: +1.3 points): **holds here**")
    assert "with 82.00%, without 79.00%, +3.00 points, 1 seed each" in text
    text = verdict("SE helps", reached("with", 0.79), reached("without", 0.82), None)
    assert "no figure): **does not hold here**" in text and "-3.00 points" in text


def test_what_was_trained_differently_is_not_compared():
    text = verdict("SE helps", reached("with", 0.9), reached("without", 0.8, epochs=20.0), 1.0)
    assert text == "SE helps: not compared, with and without were trained differently."


def test_the_table_has_mean_and_spread():
    found = {"a": reached("a", 0.80, 0.82), "b": reached("b", 0.5, steps=7)}
    table = accuracy_table("T", found, {"a": 32.4})
    assert table.rows == [
        ["a", "1.00", "2,000", "cifar10, sgd, 10 epochs", "81.00", "80.00-82.00", "2", "67.6"],
        ["b", "1.00", "2,000", "cifar10, sgd, 7 steps", "50.00", "-", "1", "-"],
    ]
    assert table.note.startswith("Counted on 10,000 images.")


def test_the_record_has_everything_except_the_images_folder():
    record = as_json({"a": reached("a", 0.80)})["a"]
    assert record["top1"] == {"0": 0.80}
    assert record["settings"] == {
        "recipe": "cifar10",
        "optimizer": "sgd",
        "epochs": 10.0,
        "steps": None,
    }
