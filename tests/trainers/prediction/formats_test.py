import csv
import json

from trainers.prediction import formats

PREDICTIONS = [
    formats.Prediction("a.png", [("cat", 0.75), ("dog", 0.2), ("cow, brown", 0.05)]),
    formats.Prediction("in/b.png", [("dog", 1.0), ("cat", 0.0), ("cow, brown", 0.0)]),
]


def test_the_table():
    lines = formats.as_table(PREDICTIONS, {}).splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["file", "class", "probability", "runner-up", "probability", "guess", "3", "probability"],
        ["a.png", "cat", "75.0%", "dog", "20.0%", "cow,", "brown", "5.0%"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_one_guess_has_no_runner_up():
    only = [formats.Prediction("a.png", [("cat", 0.5)])]
    assert formats.as_table(only, {}).splitlines()[0].split() == ["file", "class", "probability"]


def test_csv_quotes_commas():
    header, first, _ = csv.reader(formats.as_csv(PREDICTIONS, {}).splitlines())
    assert header == [
        "file", "class", "probability", "class_2", "probability_2", "class_3", "probability_3",
    ]  # fmt: skip
    assert first == ["a.png", "cat", "0.75", "dog", "0.2", "cow, brown", "0.05"]


def test_json_has_the_unreadable_files():
    record = json.loads(formats.as_json(PREDICTIONS, {"x.png": "empty"}))
    assert record["unreadable"] == [{"file": "x.png", "reason": "empty"}]
    assert record["predictions"][1]["file"] == "in/b.png"
    assert record["predictions"][1]["guesses"][0] == {"class": "dog", "probability": 1.0}
