"""Values of images in another unit than a model's preprocessing."""

import numpy as np
import pytest

from common.cli import UserError
from converters.source.pixels import check_values

PIXELS = np.array([[0, 128, 255]], np.float32)


@pytest.mark.parametrize("mode", ["tf", "torch"])
def test_pixels_as_floats_are_named_with_what_the_model_takes(mode):
    with pytest.raises(UserError, match=rf"'image' have values from 0 to 255, but .*'{mode}'.*uin"):
        check_values(PIXELS, mode, "image")


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        (PIXELS, "raw"),
        (np.uint8(PIXELS), "tf"),
        (PIXELS, None),
        # Sharpened, or with noise.
        (PIXELS / 127.5 * 1.3 - 1.3, "tf"),
    ],
)
def test_values_near_those_of_pixels_are_taken(values, mode):
    check_values(values, mode, "image")
