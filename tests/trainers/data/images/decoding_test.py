import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from trainers.data.images import crops
from trainers.data.images.augmentation import augment
from trainers.data.images.decoding import decode, orientation
from trainers.recipes import make_config

_SIZE = (80, 120)


def photograph():
    """Smooth, so that windows are not changed by colours of lower resolution at their border."""
    rows, columns = np.mgrid[: _SIZE[0], : _SIZE[1]]
    return np.stack([2 * columns, 3 * rows, columns + rows], -1).astype(np.uint8)


def exif_block(way, little=False, before=()):
    order, name = ("little", b"II") if little else ("big", b"MM")

    def number(value, size):
        return value.to_bytes(size, order)

    entries = [*before, (0x0112, way)]
    table = b"".join(
        number(tag, 2) + number(3, 2) + number(1, 4) + number(value, 2) + bytes(2)
        for tag, value in entries
    )
    tiff = name + number(42, 2) + number(8, 4) + number(len(entries), 2) + table + bytes(4)
    return b"Exif\0\0" + tiff


def encoded(image, format="JPEG", **how):
    file = io.BytesIO()
    how = {"quality": 95, "subsampling": "4:4:4", **how} if format == "JPEG" else how
    Image.fromarray(image).save(file, format, **how)
    return file.getvalue()


@pytest.mark.parametrize("way", range(1, 9))
def test_a_jpeg_is_upright_as_pillow_turns_it(way):
    file = encoded(photograph(), exif=exif_block(way))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
    np.testing.assert_array_equal(decode(tf.constant(file), 3).numpy(), expected)
    assert int(orientation(tf.constant(file))) == way


@pytest.mark.parametrize("way", range(1, 9))
def test_crops_are_those_of_the_upright_image(way):
    file = tf.constant(encoded(photograph(), exif=exif_block(way)))
    whole = decode(file, 3)
    assert whole.shape[:2] == (_SIZE if way < 5 else _SIZE[::-1])
    key = tf.constant([3, 4], tf.int64)
    for crop in (
        lambda image: crops.center_crop(image, 72, 64),
        lambda image: crops.center_crop(image, 36, 32),
        lambda image: crops.resized_crop(image, key, 40, 0.1),
    ):
        np.testing.assert_allclose(crop(file).numpy(), crop(whole).numpy(), atol=0.01)


def test_a_training_image_is_upright():
    file = encoded(photograph(), exif=exif_block(6))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    values = {"input_size": 32, "crop": "none", "flip": False}
    config = make_config("folder", "w", {"data_dir": "images", **values})
    images = config.augmentation, config.images
    ours, expected = (
        augment(tf.constant(image), tf.zeros(2, tf.int64), tf.constant(0, tf.int64), *images)
        for image in (file, np.asarray(upright))
    )
    assert upright.size == _SIZE
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), atol=1)


@pytest.mark.parametrize("little", [False, True])
def test_other_entries_come_before_the_orientation(little):
    before = [(0x0100, 6), (0x0101, 8), (0x010F, 3)]
    file = encoded(photograph(), exif=exif_block(8, little, before))
    assert int(orientation(tf.constant(file))) == 8


@pytest.mark.parametrize(
    "exif",
    [b"", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", exif_block(0), exif_block(9),
     exif_block(6)[:-12], b"Exif\0\0II*\0\x08\0\0\0\xff\xff"],
)  # fmt: skip
def test_damaged_exif_is_upright(exif):
    file = tf.constant(encoded(photograph(), exif=exif))
    assert int(orientation(file)) == 1
    assert decode(file, 3).shape[:2] == _SIZE


def test_words_of_a_comment_are_not_exif():
    file = tf.constant(encoded(photograph(), comment=exif_block(6)))
    assert decode(file, 3).shape[:2] == _SIZE


def test_a_jpegs_pixels_are_pillows():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = encoded(noise, quality=60, subsampling="4:2:0")
    pillows = np.asarray(Image.open(io.BytesIO(file)))
    np.testing.assert_array_equal(decode(tf.constant(file), 3).numpy(), pillows)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_is_decoded_in_colour_and_in_grey(format, channels):
    how = {"lossless": True} if format == "WEBP" else {}
    file = encoded(photograph(), format, **how)
    expected = Image.open(io.BytesIO(file)).convert({1: "L", 3: "RGB"}[channels])
    ours = decode(tf.constant(file), channels).numpy()
    assert ours.shape == (*_SIZE, channels)
    expected = np.asarray(expected, np.int32).reshape(ours.shape)
    assert np.abs(ours - expected).max() <= (3 if channels == 1 else 0)


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (10, 200)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    for channels in (1, 3):
        assert (decode(tf.constant(file.getvalue()), channels).numpy() == 10).all()


def test_16_bits_are_scaled_to_8():
    levels = np.array([[0, 256, 32768, 65535]], np.uint16)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    assert decode(tf.constant(file.getvalue()), 1).numpy().ravel().tolist() == [0, 1, 128, 255]


def test_transparency_is_dropped():
    stored = np.dstack([photograph(), np.full(_SIZE, 255, np.uint8)])
    stored[:40, :40] = (255, 0, 255, 0)
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "PNG")
    found = decode(tf.constant(file.getvalue()), 3).numpy()
    np.testing.assert_array_equal(found, stored[..., :3])
