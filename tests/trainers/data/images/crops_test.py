import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from trainers.data.images import crops
from trainers.data.images.augmentation import augment
from trainers.data.images.decoding import decode
from trainers.recipes import make_config


def picture(height=32, width=32):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def photograph():
    """A real photograph, uint8 [427, 640, 3]."""
    return load_sample_images().images[0]


def encoded(image, **how):
    file = io.BytesIO()
    Image.fromarray(image).save(file, **how)
    return tf.constant(file.getvalue())


@pytest.mark.parametrize(("height", "width"), [(48, 96), (97, 61), (64, 64), (40, 333)])
def test_center_crop_is_pillows(height, width):
    image = np.kron(picture(height // 4 + 1, width // 4 + 1), np.ones((4, 4, 1)))[:height, :width]
    shorter = min(height, width)
    scaled = (round(width * 48 / shorter), round(height * 48 / shorter))
    expected = Image.fromarray(image.astype(np.uint8)).resize(scaled, Image.Resampling.BILINEAR)
    left, top = (scaled[0] - 32) // 2, (scaled[1] - 32) // 2
    expected = np.asarray(expected.crop((left, top, left + 32, top + 32)), np.float32)
    ours = crops.center_crop(tf.constant(image, tf.uint8), 48, 32).numpy()
    np.testing.assert_allclose(ours, expected, atol=1.01)  # Pillow rounds twice


def test_center_crop_of_an_image_of_that_size_copies_it():
    image = picture(32, 40)
    ours = crops.center_crop(tf.constant(image), 32, 32).numpy()
    np.testing.assert_array_equal(ours, image[:, 4:36])


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("sizes", [(256, 224), (64, 56), (480, 448)])
def test_center_crop_of_a_jpeg_is_that_of_the_whole_image(photograph, subsampling, sizes):
    file = encoded(photograph, format="JPEG", quality=90, subsampling=subsampling)
    whole = decode(file, 3)
    ours, expected = (crops.center_crop(image, *sizes).numpy() for image in (file, whole))
    np.testing.assert_allclose(ours, expected, atol=0.01)


@pytest.mark.parametrize(
    ("how", "most"),
    # If a JPEG stores colours at a lower resolution, the first ones of a window are not smoothed
    # as in the whole image.
    [({"format": "PNG"}, 0), ({"format": "JPEG", "subsampling": "4:4:4"}, 0.01),
     ({"format": "JPEG"}, 25)],
)  # fmt: skip
def test_a_random_crop_of_a_file_is_that_of_its_image(photograph, how, most):
    file = encoded(photograph, **how)
    whole = decode(file, 3)
    for seed in range(5):
        key = tf.constant([seed, 0], tf.int64)
        ours, expected = (
            crops.resized_crop(image, key, 224, 0.25).numpy() for image in (file, whole)
        )
        np.testing.assert_allclose(ours, expected, atol=most)
        assert np.abs(ours - expected).mean() < 0.2


@pytest.mark.parametrize("how", [{"format": "PNG"}, {"format": "JPEG"}])
def test_a_grey_file_gets_the_requested_channels(how):
    file = encoded(picture()[..., 0], **how)
    config = make_config("cifar10", "w", {"crop": "resized"})
    for channels in (1, 3):
        key, visit = tf.zeros(2, tf.int64), tf.constant(0, tf.int64)
        out = augment(file, key, visit, config.augmentation, config.images, channels)
        assert out.shape == (32, 32, channels)
        assert np.ptp(out.numpy(), axis=-1).max() == 0


@pytest.mark.parametrize(
    "extent", [(427, 640), (375, 500), (300, 250), (224, 224), (120, 200), (100, 500)]
)
def test_resizing_is_nearer_to_pillows_than_without_antialiasing(photograph, extent):
    part = photograph[: extent[0], : extent[1]]
    expected = np.asarray(Image.fromarray(part).resize((224, 224), Image.Resampling.BILINEAR))
    ours = np.abs(crops.resize(tf.constant(part), 224).numpy() - expected).mean()
    plain = np.abs(tf.image.resize(part, [224, 224]).numpy() - expected).mean()
    assert ours < 2.2
    assert ours <= (0.6 * plain if min(extent) > 224 else plain)


def test_shrinking_uses_every_pixel():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::8, ::8] = 255
    np.testing.assert_allclose(crops.resize(tf.constant(image), 8).numpy(), 255 / 64, atol=1e-4)


def test_resizing_to_the_same_size_copies():
    image = picture()
    np.testing.assert_array_equal(crops.resize(tf.constant(image), 32).numpy(), image)
