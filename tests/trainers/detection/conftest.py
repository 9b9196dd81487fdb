"""A small data set of boxes."""

import json

import numpy as np
import pytest
from PIL import Image

from trainers.detection.data.dataset import open_sets

WIDTH, HEIGHT = 96, 64
COLOURS = {"red": (220, 20, 20), "blue": (20, 20, 220)}


@pytest.fixture(scope="session")
def squares_folder(tmp_path_factory):
    """Seven grey images with none to three coloured squares: their colours are their classes."""
    root, rng = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    images, annotations = [], []
    (root / "images").mkdir()
    for number in range(7):
        pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        for place in range(number % 4):
            label, size = int(rng.integers(2)), int(rng.integers(12, 24))
            left, top = 32 * place + int(rng.integers(8)), int(rng.integers(HEIGHT - size))
            pixels[top : top + size, left : left + size] = list(COLOURS.values())[label]
            box = {"bbox": [left, top, size, size], "iscrowd": 0, "id": len(annotations)}
            annotations.append({**box, "image_id": number, "category_id": label})
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
        images.append(
            {"id": number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT}
        )
    categories = [{"id": number, "name": name} for number, name in enumerate(COLOURS)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "train.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="session")
def squares(squares_folder):
    """The same, opened."""
    (found,) = open_sets(squares_folder, ["train"])
    return found
