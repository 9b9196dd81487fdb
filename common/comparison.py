"""How far outputs are from those that they should be."""

import numpy as np


def relative_errors(expected: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Returns the largest error and the root of the mean squared error of outputs.

    Args:
      expected: float outputs of any shape, not all equal.
      actual: of the same shape.

    Returns:
      `max` and `rms`, in standard deviations of `expected`.

    Examples:
      >>> relative_errors(np.array([0.0, 2.0]), np.array([0.0, 2.5]))["max"]
      0.5
    """
    error = np.abs(expected - actual) / float(expected.std())
    return {"max": float(error.max()), "rms": float(np.sqrt(np.square(error).mean()))}
