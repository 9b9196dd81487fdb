import runpy
from pathlib import Path

import numpy as np
from PIL import Image

from trainers.detection.data.dataset import open_sets

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "draw_shapes.py"


def test_the_shapes_fill_their_boxes(tmp_path):
    script = runpy.run_path(str(SCRIPT))
    script["write"](tmp_path, "train", 40, np.random.default_rng(0))
    (found,) = open_sets(tmp_path, ["train"])
    assert found.class_names == ("circle", "square", "triangle")
    assert len(found.images) == 40 and found.counts().min() > 0 and not +found.skipped
    checked = 0
    for image in found.images:
        pixels = np.asarray(Image.open(image.path))
        for box, label in zip(image.boxes.astype(int), image.classes, strict=True):
            if label == 1 and len(image.boxes) == 1:
                inside = pixels[box[1] : box[3], box[0] : box[2]]
                assert (inside == inside[0, 0]).all()
                around = pixels[max(box[1] - 1, 0) : box[3] + 1, max(box[0] - 1, 0) : box[2] + 1]
                assert (around != inside[0, 0]).any()
                checked += 1
    assert checked
