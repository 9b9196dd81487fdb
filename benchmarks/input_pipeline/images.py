"""Folders of JPEG files for the benchmark of the input pipeline, made from two real photographs."""

from pathlib import Path

import numpy as np
from PIL import Image

_SEED = 0
_CLASSES = 8
# Width and height, number of files, and JPEG quality. The photos' files are nearly as large as
# ImageNet's, whose archive of 1.28 million images has 147.9 GB.
SETS = {"photos": ((500, 375), 512, 97), "small": ((32, 32), 2048, 95)}


def image_folder(name: str, cache: Path) -> Path:
    """Returns a folder root/train/class/*.jpg, which is written now unless it exists.

    Args:
      name: a key of `SETS`.
      cache: the folder that contains it.

    Examples:
      >>> root = image_folder("photos", Path("build/benchmarks"))
    """
    root = cache / f"pipeline_{name}"
    finished = root / "finished"
    if not finished.exists():
        _write(root, *SETS[name])
        finished.touch()
    return root


def _write(root: Path, size: tuple[int, int], count: int, quality: int) -> None:
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(image) for image in load_sample_images().images]
    rng = np.random.default_rng(_SEED)
    for index in range(count):
        folder = root / "train" / f"class{index % _CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = _variant(photos[index % len(photos)], size, rng)
        picture.save(folder / f"{index:05d}.jpg", quality=quality)


def _variant(photo: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Returns a random part of the photograph, at least a quarter of its area, at this size."""
    share = rng.uniform(0.5, 1)
    width, height = (round(extent * share) for extent in photo.size)
    left = int(rng.integers(photo.width - width + 1))
    top = int(rng.integers(photo.height - height + 1))
    box = (left, top, left + width, top + height)
    return photo.resize(size, Image.Resampling.BICUBIC, box=box)
