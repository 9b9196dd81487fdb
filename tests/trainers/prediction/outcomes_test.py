import csv
import io

import numpy as np

from trainers.prediction.outcomes import MAX_COLUMNS, Outcomes


def outcomes(file, shares, labels, names, images=()):
    made = Outcomes(file, names, images)
    logits = np.log(np.float32(shares) + 1e-30)
    for part in np.array_split(np.arange(len(labels)), 3):
        inputs = np.float32(part)[:, None, None, None] * np.ones((1, 2, 2, 1), np.float32)
        made.add(inputs, np.array(labels)[part], logits[part])
    return made


def rows(file):
    return list(csv.reader(file.getvalue().splitlines()))


def test_a_line_for_each_image_and_the_surest_mistakes():
    file = io.StringIO()
    shares = [[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.25, 0.75]]
    made = outcomes(file, shares, [0, 0, 1, 0], ["cat", "dog"])
    assert rows(file) == [
        ["image", "label", "guess", "probability", "p_cat", "p_dog"],
        ["0", "cat", "cat", "0.9", "0.9", "0.1"],
        ["1", "cat", "dog", "0.6", "0.4", "0.6"],
        ["2", "dog", "cat", "0.8", "0.8", "0.2"],
        ["3", "cat", "dog", "0.75", "0.25", "0.75"],
    ]
    found = [(one.image, one.label, one.guess, one.pixels.max()) for one in made.mistakes]
    assert found == [("2", "dog", "cat", 2), ("3", "cat", "dog", 3), ("1", "cat", "dog", 1)]


def test_the_guess_is_that_of_the_logits_where_probabilities_are_equal():
    file = io.StringIO()
    made = Outcomes(file, ["cat", "dog"])
    logits = np.float32([[1e-9, 2e-9]])
    made.add(np.zeros((1, 2, 2, 1), np.float32), np.array([1]), logits)
    assert rows(file)[1] == ["0", "dog", "dog", "0.5", "0.5", "0.5"]


def test_images_with_files_have_their_names():
    file = io.StringIO()
    outcomes(file, np.eye(3), [0, 1, 2], ["a", "b", "c"], ["x/1.png", "x/2,3.png", "y/1.png"])
    assert [row[0] for row in rows(file)[1:]] == ["x/1.png", "x/2,3.png", "y/1.png"]


def test_many_classes_have_no_columns_and_few_mistakes_are_kept():
    file, names = io.StringIO(), [f"class {i}" for i in range(MAX_COLUMNS + 1)]
    made = outcomes(file, np.eye(len(names)), [0] * len(names), names)
    assert rows(file)[5] == ["4", "class 0", "class 4", "1"]
    assert len(made.mistakes) == 24
