"""Sizes and orientations of image files, and boxes turned as their images are."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

# Kinds of files whose pixels `trainers.data.images.decoding` turns; phones write MPO, too.
_TURNED = ("JPEG", "MPO")
_ORIENTATION = 0x0112
# Where it looks for EXIF: Pillow also finds it behind other segments, and in PNG.
_EXIF, _PLACES = b"Exif\0\0", (6, 24)
_UPRIGHT = 1


class Header(NamedTuple):
    """What an image file says of itself.

    Attributes:
      width, height: in pixels, as stored.
      orientation: EXIF's, from 1 (upright) to 8.
    """

    width: int
    height: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) of the image as it is seen."""
        swaps = self.orientation >= 5
        return (self.height, self.width) if swaps else (self.width, self.height)


def read_header(path: str) -> Header | None:
    """Returns the header of an image file; None if it is not an image.

    Raises:
      OSError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file, Image.open(file) as image:
            file.seek(0)
            head = file.read(max(_PLACES) + len(_EXIF))
            turns = image.format in _TURNED and any(head.startswith(_EXIF, at) for at in _PLACES)
            way = image.getexif().get(_ORIENTATION, _UPRIGHT) if turns else _UPRIGHT
            is_known = isinstance(way, int) and _UPRIGHT <= way <= 8
            return Header(*image.size, way if is_known else _UPRIGHT)
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError):
        return None


def turned(boxes: np.ndarray, header: Header) -> np.ndarray:
    """Returns boxes [n, 4] of the stored image as boxes of the upright one.

    Examples:
      >>> turned(np.array([[0, 0, 10, 20]]), Header(100, 50, 6))  # a quarter turn to the right
      array([[30,  0, 50, 10]])
    """
    left, top, right, bottom = boxes.T
    # As `decoding.turn`: first rows and columns are exchanged, then axes are mirrored.
    if header.orientation >= 5:
        left, top, right, bottom = top, left, bottom, right
    width, height = header.upright
    if header.orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if header.orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return np.stack([left, top, right, bottom], axis=-1)
