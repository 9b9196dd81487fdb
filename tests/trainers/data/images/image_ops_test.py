"""Compares with Pillow, which torchvision's transforms use."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from trainers.data.images import image_ops


@pytest.fixture(scope="module")
def picture():
    """A smooth colour picture with all values, 40 high and 48 wide."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((48, 40), Image.Resampling.BICUBIC))


def apply(operation, picture, *arguments):
    return operation(tf.constant(picture, tf.float32), *arguments).numpy()


@pytest.mark.parametrize("factor", [0.01, 0.6, 1.0, 1.4, 1.99])
@pytest.mark.parametrize(
    ("operation", "enhance"),
    [
        (image_ops.brightness, ImageEnhance.Brightness),
        (image_ops.contrast, ImageEnhance.Contrast),
        (image_ops.saturation, ImageEnhance.Color),
        (image_ops.sharpness, ImageEnhance.Sharpness),
    ],
)
def test_enhancements_are_pillows(picture, operation, enhance, factor):
    expected = np.asarray(enhance(Image.fromarray(picture)).enhance(factor), np.float32)
    found = apply(operation, picture, factor)
    # Pillow rounds its results down to integers, and may do so with the grey that it blends with.
    assert np.abs(found - expected).max() < 2.5
    assert -0.6 < (found - expected).mean() < 1.1


@pytest.mark.parametrize("bits", range(2, 9))
def test_posterize_is_pillows(picture, bits):
    expected = ImageOps.posterize(Image.fromarray(picture), bits)
    np.testing.assert_array_equal(apply(image_ops.posterize, picture, bits), expected)


@pytest.mark.parametrize("threshold", [0, 77, 255])
def test_solarize_is_pillows(picture, threshold):
    expected = ImageOps.solarize(Image.fromarray(picture), threshold)
    np.testing.assert_array_equal(apply(image_ops.solarize, picture, threshold), expected)


@pytest.mark.parametrize(
    ("operation", "original", "tolerance"),
    [
        (image_ops.autocontrast, ImageOps.autocontrast, 1),
        (image_ops.equalize, ImageOps.equalize, 0),
    ],
)
def test_histogram_operations_are_pillows(picture, operation, original, tolerance):
    flat = np.full((5, 6, 3), 17, np.uint8)
    two = np.where(picture > 100, 90, 60).astype(np.uint8)
    for image in (picture, picture // 3 + 40, flat, two):
        expected = np.asarray(original(Image.fromarray(image)), np.float32)
        np.testing.assert_allclose(apply(operation, image), expected, atol=tolerance)


def pillow_affine(picture, matrix):
    image = Image.fromarray(picture)
    return np.asarray(image.transform(image.size, Image.Transform.AFFINE, matrix))


@pytest.mark.parametrize(
    ("found", "matrix"),
    [
        (lambda image: image_ops.shear(image, 0.33, 0.0), (1, 0.33, 0, 0, 1, 0)),
        (lambda image: image_ops.shear(image, 0.0, -0.7), (1, 0, 0, -0.7, 1, 0)),
        (lambda image: image_ops.translate(image, 5.0, 0.0), (1, 0, -5, 0, 1, 0)),
        (lambda image: image_ops.translate(image, 0.0, -32.0), (1, 0, 0, 0, 1, 32)),
    ],
)
def test_shapes_change_as_pillows(picture, found, matrix):
    same = apply(found, picture) == pillow_affine(picture, matrix)
    assert same.all(axis=-1).mean() > 0.99  # a tie between two pixels can go either way


@pytest.mark.parametrize("degrees", [-134, -90, 13.5, 47, 90])
def test_rotation_is_pillows(picture, degrees):
    expected = np.asarray(Image.fromarray(picture).rotate(degrees))
    same = apply(image_ops.rotate, picture, float(degrees)) == expected
    assert same.all(axis=-1).mean() > 0.99


def test_a_right_angle_moves_whole_pixels():
    square = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    turned = apply(image_ops.rotate, square, 90.0)
    np.testing.assert_array_equal(turned, np.rot90(square))
