import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from trainers.evaluation import Scores
from trainers.prediction.outcomes import Mistake
from trainers.reporting.evaluation_page import class_rows, write_evaluation

CONFUSION = np.array([[9, 1, 0], [0, 10, 0], [0, 0, 0]])


def test_precision_and_recall():
    assert class_rows(CONFUSION, ["cat", "dog", "cow"]) == [
        ["cat", "10", "90.0%", "100.0%"],
        ["dog", "10", "100.0%", "90.9%"],
        ["cow", "0", "-", "-"],
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_page_shows_the_mistakes_as_they_were(tmp_path, channels):
    pytest.importorskip("jinja2", reason="jinja2 is not installed: the extra report has it")
    image = np.random.default_rng(0).integers(0, 256, (8, 8, channels), np.uint8)
    mistake = Mistake("<1>\udcff.png", "cat", "dog", 0.987, image)
    scores = Scores(0.95, 1.0, 0.2, 20, CONFUSION)
    path = tmp_path / "report.html"
    write_evaluation(path, {"model": "work"}, scores, ["cat", "dog", "cow"], [mistake])
    page = path.read_text(encoding="utf-8")
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', page)[1]
    shown = np.array(Image.open(io.BytesIO(base64.b64decode(picture))))
    np.testing.assert_array_equal(shown.reshape(image.shape), image)
    assert "cat → dog (98.7%)" in page
    assert "&lt;1&gt;\\udcff.png" in page and "<1>" not in page
    assert "top-1 95.00%, loss 0.2000" in page and "90.9%" in page
    assert "plotly" not in page


def test_top5_is_shown_of_more_than_ten_classes_only():
    few, many = (Scores(0.5, 0.75, 1.0, 4, np.eye(classes, dtype=int)) for classes in (10, 11))
    assert few.summary == "top-1 50.00%, loss 1.0000"
    assert many.summary == "top-1 50.00%, top-5 75.00%, loss 1.0000"
