"""Draws boxes into images."""

import colorsys
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from common import files
from common.detection.nms import Detections
from trainers.detection.data.headers import read_header

# Neighbours in this order differ most: the golden ratio.
_TURN = 0.618034
# Of an image's longer side.
_LINE, _TEXT = 300, 40
_SMALLEST_TEXT = 10
TRUTH_COLOUR = (255, 255, 255)
# In each file, so that it can be told from a photograph.
_COMMENT = b"boxes drawn by keras_shufflenet"


def load_image(path: str | os.PathLike) -> Image.Image:
    """Returns an image of a file, in colour and as upright as the detector saw it.

    Raises:
      OSError: it cannot be read.
    """
    header = read_header(path)
    with Image.open(path) as image:
        is_turned = header is not None and header.orientation != 1
        return (ImageOps.exif_transpose(image) if is_turned else image).convert("RGB")


def colour_of(label: int) -> tuple[int, int, int]:
    """Returns the colour of a class's boxes: red, green, blue."""
    shares = colorsys.hsv_to_rgb(label * _TURN % 1, 0.85, 0.95)
    return tuple(round(255 * share) for share in shares)


def draw(
    image: Image.Image,
    found: Detections,
    names: Sequence[str],
    truth: np.ndarray | None = None,
) -> Image.Image:
    """Returns a copy of an image with its detections, each with class and score.

    Args:
      image: in colour.
      found: in pixels of the image.
      names: the class names.
      truth: [n, 4], boxes that were to be found, drawn in white below the others; or None.
    """
    image = image.copy()
    canvas, longer = ImageDraw.Draw(image), max(image.size)
    width = max(1, round(longer / _LINE))
    font = ImageFont.load_default(max(_SMALLEST_TEXT, longer // _TEXT))
    for box in () if truth is None else truth:
        canvas.rectangle(tuple(map(float, box)), outline=TRUTH_COLOUR, width=width)
    # The best last, on top of the others.
    for box, score, label in reversed(list(zip(*found, strict=True))):
        colour = colour_of(int(label))
        left, top, right, bottom = map(float, box)
        canvas.rectangle(
            (left, top, max(left, right), max(top, bottom)), outline=colour, width=width
        )
        _write(canvas, (left, top), f"{names[label]} {score:.0%}", colour, font)
    return image


def _write(
    canvas: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.ImageFont,
) -> None:
    """Writes on a ground of the box's colour, above its corner or, at the image's edge, below."""
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    x, y = max(0.0, corner[0]), corner[1] - (bottom - top) - 2
    y = y if y >= 0 else max(0.0, corner[1])
    canvas.rectangle((x, y, x + right - left + 2, y + bottom - top + 2), fill=colour)
    is_light = sum(colour) > 380
    canvas.text((x + 1 - left, y + 1 - top), text, fill="black" if is_light else "white", font=font)


def save_jpeg(image: Image.Image, path: Path) -> None:
    """Writes an image as JPEG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as temporary:
        image.save(temporary, format="JPEG", quality=90, comment=_COMMENT)


def is_drawn(path: Path) -> bool:
    """Returns whether `save_jpeg` has written a file."""
    try:
        if not path.is_file():
            return False
        with Image.open(path) as image:
            return image.info.get("comment") == _COMMENT
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
