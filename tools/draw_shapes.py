"""Draws images of circles, squares and triangles, and writes their boxes as COCO's JSON.

For `make demo-detection` where no real images are at hand: python tools/draw_shapes.py FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = 192  # pixels
SPLITS = {"train": 240, "val": 60}
SHAPES = ("circle", "square", "triangle")
_MOST, _SIDES = 5, (20, 70)
# Boxes may touch, but a shape hides at most a little of another.
_OVERLAP, _TRIES = 0.1, 50


def free_box(rng, boxes):
    """Returns a random box that hides little of the others, or None."""
    for _ in range(_TRIES):
        side = int(rng.integers(*_SIDES))
        left, top = rng.integers(0, SIZE - side, 2)
        box = np.array([left, top, left + side, top + side])
        shared = [
            np.prod(np.clip(np.minimum(box[2:], x[2:]) - np.maximum(box[:2], x[:2]), 0, None))
            for x in boxes
        ]
        smaller = [min(side, x[2] - x[0]) ** 2 for x in boxes]
        if all(part <= _OVERLAP * area for part, area in zip(shared, smaller, strict=True)):
            return box
    return None


def draw(rng):
    """Returns an image, and (number of the shape, box) of each shape in it."""
    ground = rng.uniform(60, 190, 3) + rng.uniform(-25, 25, (SIZE // 16, SIZE // 16, 3))
    image = Image.fromarray(np.uint8(np.clip(ground, 0, 255))).resize((SIZE, SIZE))
    canvas, found = ImageDraw.Draw(image), []
    for _ in range(rng.integers(1, _MOST + 1)):
        box = free_box(rng, [box for _, box in found])
        if box is None:
            continue
        shape, colour = int(rng.integers(len(SHAPES))), tuple(rng.integers(0, 256, 3).tolist())
        # The last pixel belongs to the shape.
        left, top, right, bottom = (box - [0, 0, 1, 1]).tolist()
        if SHAPES[shape] == "circle":
            canvas.ellipse((left, top, right, bottom), fill=colour)
        elif SHAPES[shape] == "square":
            canvas.rectangle((left, top, right, bottom), fill=colour)
        else:
            corners = [(left, bottom), ((left + right) / 2, top), (right, bottom)]
            canvas.polygon(corners, fill=colour)
        found.append((shape, box))
    return image, found


def write(folder, split, count, rng):
    """Writes the images of one split and FOLDER/SPLIT.json."""
    images, annotations = [], []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, found = draw(rng)
        name = f"{split}_{number:04d}.png"
        image.save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
        for shape, (left, top, right, bottom) in found:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": shape,
                    "bbox": [int(left), int(top), int(right - left), int(bottom - top)],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(SHAPES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{split}.json").write_text(json.dumps(content))


if __name__ == "__main__":
    for place, (split, count) in enumerate(SPLITS.items()):
        write(Path(sys.argv[1]), split, count, np.random.default_rng(place))
