"""The settings that input pipelines are compared with, and how they are timed."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_FEWEST = 2


@dataclass(frozen=True)
class Setting:
    """One kind of training stream.

    Attributes:
      images: a key of `benchmarks.input_pipeline.images.SETS`.
      size: height and width of the batch's images, in pixels.
      crop: "resized" (a random part of at least min_area, resized), "pad" (padded by reflection,
        then cropped at random) or "boxes" (the first, as a detector's training does it).
      min_area: smallest share of the image.
      padding: pixels on each side.
      color_jitter: largest change of brightness, contrast and saturation, as a share.
      batch_size: images per batch.
      boxes: number of boxes of each image.
    """

    images: str
    size: int
    crop: str
    min_area: float = 0.25
    padding: int = 4
    color_jitter: float = 0.0
    batch_size: int = 64
    boxes: int = 0


SETTINGS = {
    "224 px": Setting("photos", 224, "resized"),
    "224 px with colour jitter": Setting("photos", 224, "resized", color_jitter=0.4),
    "32 px": Setting("small", 32, "pad"),
    # 0.6 of each side, the smallest window of a detector's training.
    "320 px with boxes": Setting("photos", 320, "boxes", min_area=0.36, batch_size=16, boxes=8),
}

OURS = "ours"
# The module that runs each pipeline.
PIPELINES = {
    OURS: "benchmarks.input_pipeline.worker",
    "tf.data": "benchmarks.input_pipeline.worker",
    "tf.data antialiased": "benchmarks.input_pipeline.worker",
    "PyTorch on Pillow": "benchmarks.input_pipeline.torch_worker",
    "PyTorch on tensors": "benchmarks.input_pipeline.torch_worker",
}


def serves(pipeline: str, setting: Setting) -> bool:
    """Returns whether a pipeline can do what the setting needs, and differs from the others."""
    if pipeline == "tf.data antialiased" and setting.crop == "pad":
        return False
    if setting.crop == "boxes":
        return not pipeline.startswith("PyTorch")
    # tf.image changes colours in another way than the other pipelines' jitter.
    return not (pipeline.startswith("tf.data") and setting.color_jitter)


def rate(batches: Iterable, batch_size: int, seconds: float) -> float:
    """Returns images per second over the second half of the time, at least two batches."""
    iterator = iter(batches)
    _read(iterator, seconds / 2)
    count, elapsed = _read(iterator, seconds / 2)
    return batch_size * count / elapsed


def _read(iterator: Iterator, seconds: float) -> tuple[int, float]:
    """Returns how many batches were read in about this time, and the exact time."""
    count, start = 0, time.perf_counter()
    while count < _FEWEST or time.perf_counter() - start < seconds:
        next(iterator)
        count += 1
    return count, time.perf_counter() - start
