"""Loads saved networks."""

import os
from typing import Any

import keras


def load_model(filepath: str | os.PathLike, **options: Any) -> keras.Model:
    """Returns the model of a `.keras` file, such as a training's `model.keras`.

    It does the same as `keras.saving.load_model`, which finds this package's layers only after
    `import keras_shufflenet`.

    Args:
      filepath: the `.keras` file.
      **options: those of `keras.saving.load_model`, such as `compile`.

    Raises:
      ValueError: the file does not exist, or Keras cannot read it.

    Examples:
      >>> model = keras_shufflenet.load_model("work/model.keras")
    """
    return keras.saving.load_model(filepath, **options)
