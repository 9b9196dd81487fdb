import numpy as np
import pytest

from trainers.reporting import confusion


def test_the_table_is_aligned():
    text = confusion.table(np.array([[9, 1], [0, 0]]), ["cat", "elephant"])
    assert text.splitlines() == [
        "true \\ guess  cat  elephant  correct",
        "cat             9         1    90.0%",
        "elephant        0         0        -",
    ]


def test_the_worst_pairs_come_first():
    matrix = np.array([[5, 2, 0], [7, 5, 0], [0, 1, 5]])
    assert confusion.worst_pairs(matrix, "abc").split("\n") == [
        "     7  b → a",
        "     2  a → b",
        "     1  c → b",
    ]
    assert confusion.worst_pairs(np.eye(3, dtype=int), "abc") == "no mistakes"


@pytest.mark.parametrize(("classes", "start"), [(20, "true"), (21, "     9")])
def test_many_classes_are_summarized_by_pairs(classes, start):
    matrix = np.eye(classes, dtype=int)
    matrix[0, 1] = 9
    names = [str(index) for index in range(classes)]
    assert confusion.summary(matrix, names).startswith(start)


@pytest.mark.parametrize("classes", [2, 30, 100])
def test_the_picture_shows_the_matrix(tmp_path, classes):
    from PIL import Image

    names = [f"class{index}" for index in range(classes)]
    confusion.save_picture(np.eye(classes, dtype=int), names, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"), int)
    assert min(picture.size) >= 300
    dark_blue = (pixels[..., 2] - pixels[..., 0] > 60) & (pixels[..., 0] < 50)
    assert dark_blue.mean() > 0.001  # the diagonal and the end of the colour bar
