"""A detector in all files that are compared."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.other_runtimes.files import Variant


@dataclass(frozen=True)
class Prepared:
    """A detector in all its files.

    Attributes:
      name: unique among all detectors.
      title: its name for readers.
      pixels: height and width of its input.
      multiply_adds: of one image; None if no file tells.
      counterpart: the name of the detector of ours that it is compared with.
      files: by variant.
      images: path of the images [n, height, width, 3] that outputs are compared on.
      expected: what Keras computes of them, [n, values]; None for a detector of others: its first
        file's outputs are what its other files are compared with.
    """

    name: str
    title: str
    pixels: int
    multiply_adds: int | None
    counterpart: str
    files: dict[Variant, Path]
    images: Path
    expected: np.ndarray | None = None
