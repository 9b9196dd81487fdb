"""What a page's outputs are worth: as the files give them, and a detector's average precision."""

import numpy as np

from common.artifact import Artifact
from common.manifest import DETECTION
from edge.running.samples import correctness


def stored_outputs(artifact: Artifact, name: str, outputs: np.ndarray) -> np.ndarray:
    """Returns a page's outputs as the file gives them: those of integer files are integers again.

    Args:
      artifact: the file's.
      name: of the file.
      outputs: float32 [images, …].
    """
    stored = artifact.files[name]["outputs"][0]
    dtype = np.dtype(stored["dtype"])
    if dtype.kind == "f":
        return outputs
    limits = np.iinfo(dtype)
    steps = np.rint(outputs / np.float32(stored["scale"])) + stored["zero_point"]
    steps = np.nan_to_num(steps, nan=limits.min)
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def average_precision(artifact: Artifact, name: str, outputs: np.ndarray) -> float | None:
    """Returns a detector's AP on the first samples, 0 to 1; None if it is not known.

    Args:
      artifact, name, outputs: as for `stored_outputs`.
    """
    if artifact.task != DETECTION:
        return None
    return correctness(artifact, name, [stored_outputs(artifact, name, outputs)]).get("ap")
