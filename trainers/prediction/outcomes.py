"""What a model says of each image of an evaluation: a file, and the mistakes it is surest of."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np

from trainers.prediction.classifier import softmax

# With more classes, a line has only the guess's probability: 50,000 images of 1000 classes would
# make a file of 300 MB.
MAX_COLUMNS = 100
_MISTAKES = 24


@dataclass(frozen=True)
class Mistake:
    """An image that a model takes for another class.

    Attributes:
      image: the file's path, or the number of the image in its split.
      label, guess: class names.
      probability: of the guess.
      pixels: what the network saw, before normalization, uint8 [height, width, channels].
    """

    image: str
    label: str
    guess: str
    probability: float
    pixels: np.ndarray


class Outcomes:
    """Writes predictions.csv, one line for each image, and keeps the surest mistakes.

    Args:
      file: open for writing, without newline translation.
      names: the class names.
      images: the files of the split in their order; empty if it has none, then images have numbers.
    """

    def __init__(self, file: TextIO, names: Sequence[str], images: Sequence[str] = ()):
        self._names, self._images = names, images
        self._count, self._mistakes = 0, []
        self._writer = csv.writer(file, lineterminator="\n")
        self._columns = names if len(names) <= MAX_COLUMNS else ()
        titles = ["image", "label", "guess", "probability"]
        self._writer.writerow([*titles, *(f"p_{name}" for name in self._columns)])

    def add(self, pixels: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> None:
        """Adds the next images of the split.

        Args:
          pixels: uint8 [n, height, width, channels].
          labels: int [n].
          logits: float32 [n, classes].
        """
        # Of the logits, as accuracy is counted: probabilities may be equal where logits are not.
        guesses = logits.argmax(axis=-1).tolist()
        rows = zip(pixels, labels, softmax(logits), guesses, strict=True)
        for image_pixels, label, share, guess in rows:
            image = self._name()
            top = float(share[guess])
            named = self._names[label], self._names[guess]
            cells = (f"{value:.6g}" for value in share) if self._columns else ()
            self._writer.writerow([image, *named, f"{top:.6g}", *cells])
            if guess != label:
                # A view would keep the whole batch in memory.
                self._mistakes.append(Mistake(image, *named, top, image_pixels.copy()))
            self._count += 1
        self._mistakes = self.mistakes

    def _name(self) -> str:
        return self._images[self._count] if self._images else str(self._count)

    @property
    def mistakes(self) -> list[Mistake]:
        """The mistakes with the highest probabilities, these first."""
        return sorted(self._mistakes, key=lambda one: -one.probability)[:_MISTAKES]
