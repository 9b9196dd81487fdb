import numpy as np
import tensorflow as tf
from PIL import Image

from common.detection.nms import Detections
from trainers.data.images.decoding import decode
from trainers.detection.data.headers import read_header
from trainers.detection.results.drawing import colour_of, draw, load_image


def test_boxes_are_where_they_should_be_and_the_image_stays():
    image = Image.new("RGB", (200, 100), "black")
    found = Detections(
        np.float32([[20, 30, 120, 80], [150, -3, 199, 50]]),
        np.float32([0.9, 0.4]),
        np.array([1, 0]),
    )
    drawn = np.asarray(draw(image, found, ["cat", "dog"], truth=np.float32([[5, 5, 15, 15]])))
    assert not np.asarray(image).any()
    assert tuple(drawn[60, 20]) == tuple(drawn[80, 60]) == colour_of(1)
    assert tuple(drawn[40, 150]) == tuple(drawn[50, 170]) == colour_of(0)
    assert tuple(drawn[5, 10]) == (255, 255, 255)
    assert not drawn[55, 60:100].any() and colour_of(0) != colour_of(1)
    # The text's ground is above its box.
    assert tuple(drawn[28, 21]) == colour_of(1)


def test_an_image_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    image = load_image(tmp_path / "a.jpg")
    assert (image.size, image.mode) == ((20, 40), "RGB")


def test_pictures_and_headers_are_turned_where_the_detector_turns_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("jpg", "png", "webp"):
        Image.new("RGB", (40, 20)).save(tmp_path / f"a.{suffix}", exif=exif)
    content = (tmp_path / "a.jpg").read_bytes()
    # A comment before EXIF, which then is not where cameras put it.
    (tmp_path / "late.jpg").write_bytes(content[:20] + b"\xff\xfe\x00\x08words!" + content[20:])
    turned = set()
    for path in tmp_path.iterdir():
        height, width, _ = decode(tf.constant(path.read_bytes()), 3).shape
        assert load_image(path).size == read_header(str(path)).upright == (width, height)
        turned |= {path.name} if height > width else set()
    assert turned == {"a.jpg"}
