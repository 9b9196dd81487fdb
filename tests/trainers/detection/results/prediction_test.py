from pathlib import Path

import pytest
from PIL import Image

from common.cli import UserError
from trainers.detection.results.drawing import is_drawn, save_jpeg
from trainers.detection.results.prediction import predict_boxes

FOREIGN = {
    "photograph": lambda folder: picture().save(folder / "a.jpg"),
    "text": lambda folder: (folder / "a.jpg").write_text("mine"),
    "folder": lambda folder: (folder / "a.jpg").mkdir(),
    "lost link": lambda folder: (folder / "a.jpg").symlink_to("nowhere"),
    "evaluation": lambda folder: (folder / "detections.json").write_text('{"images": []}'),
}


def picture():
    return Image.new("RGB", (8, 8), "red")


def predict(tmp_path, names=("a.jpg",)):
    photos = tmp_path / "photos"
    photos.mkdir(exist_ok=True)
    for name in names:
        picture().save(photos / name)
    images = [photos / name for name in names]
    predict_boxes(Path("no_model"), None, images, tmp_path / "found", 0.3, "csv")


@pytest.mark.parametrize("kind", FOREIGN)
def test_nothing_is_replaced_that_no_prediction_wrote(tmp_path, kind):
    found = tmp_path / "found"
    found.mkdir()
    FOREIGN[kind](found)
    with pytest.raises(UserError, match=r"would be replaced, but no prediction has written it"):
        predict(tmp_path)


def test_an_earlier_prediction_is_replaced(tmp_path):
    save_jpeg(picture(), tmp_path / "found" / "a.jpg")
    (tmp_path / "found" / "detections.json").write_text('{"images": [], "unreadable": []}')
    assert is_drawn(tmp_path / "found" / "a.jpg")
    # The next thing that is looked at.
    with pytest.raises((UserError, OSError), match="no_model"):
        predict(tmp_path)


def test_two_images_of_one_picture_are_named(tmp_path):
    with pytest.raises(UserError, match=r"two of the images would be drawn into .*a\.png\.jpg"):
        predict(tmp_path, ("a.png", "a.png.jpg"))
