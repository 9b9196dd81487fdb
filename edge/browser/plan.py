"""What the page measures: an artifact's files, the images, and how often."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.artifact import Artifact

ACCELERATORS = ("wasm", "webgpu", "webnn")


@dataclass(frozen=True)
class Plan:
    """What the page measures.

    Attributes:
      artifact: the files' artifact.
      files: names of the files to measure; all of the artifact's can be tried.
      images: uint8 [n, height, width, channels], on which outputs are compared.
      labels: the images' classes, [n]; None if they are noise, or a detector's.
      accelerators: of `ACCELERATORS`, one after the other.
      threads: of WebAssembly, where the browser allows more than one.
      warmup: inferences before the timed ones; more follow until the times are stable.
      runs: timed inferences of each file.
      cooldown: seconds of pause between two rounds.
      sends: whether the page proposes to send its results; the user may change that.
      starts: whether the page measures as soon as it is open.
    """

    artifact: Artifact
    files: tuple[str, ...]
    images: np.ndarray
    labels: Sequence[int] | None
    accelerators: tuple[str, ...]
    threads: int
    warmup: int
    runs: int
    cooldown: float = 0.0
    sends: bool = False
    starts: bool = False

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one image's output."""
        return output_shape(self.artifact)


def output_shape(artifact: Artifact) -> tuple[int, ...]:
    """Returns the shape of one image's output, without the batch."""
    return tuple(artifact.manifest["outputs"][0]["shape"][1:])
