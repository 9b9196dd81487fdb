"""From pixels to a network's input, and from its output to class names."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_shufflenet.layers import check_choice, check_positive_int


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A normalization: network input = pixel (0 to 255) * scale + offset.

    Attributes:
      scale: one factor per channel, or a single one for all.
      offset: one summand per channel, or a single one for all.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]


# ImageNet's mean and standard deviation of pixels in 0..1, red, green, blue, as torchvision has.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

# By mode, as keras.applications names them.
PREPROCESSING = {
    "tf": Preprocessing(scale=(1 / 127.5,), offset=(-1.0,)),
    "torch": Preprocessing(
        scale=tuple(1 / (255 * deviation) for deviation in _DEVIATION),
        offset=tuple(-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)),
    ),
}


def preprocess_input(x: Any, data_format: str | None = None, mode: str = "tf") -> Any:
    """Returns pixels normalized for the networks; `x` itself is not changed.

    Args:
      x: (..., height, width, channels), 0 to 255, any number type: a NumPy array, or a tensor of
        Keras's backend, symbolic ones too.
      data_format: None or "channels_last".
      mode: "tf" (to -1..1, any number of channels) or "torch" (ImageNet's mean and deviation,
        red, green, blue).

    Returns:
      An array or tensor of the same shape, of the type keras.config.floatx() (float32).

    Raises:
      ValueError: an argument is not as above.

    Example:
      >>> x = keras_shufflenet.preprocess_input(images_uint8)
    """
    check_choice("mode", mode, tuple(PREPROCESSING))
    check_choice("data_format", data_format, (None, "channels_last"))
    preprocessing = PREPROCESSING[mode]
    channels = len(preprocessing.scale)
    if channels > 1 and x.shape[-1] != channels:
        raise ValueError(
            f"`x` must have {channels} channels in mode {mode!r}. Received: shape={x.shape}"
        )
    dtype = keras.config.floatx()
    is_array = isinstance(x, np.ndarray)
    x = x.astype(dtype) if is_array else keras.ops.cast(x, dtype)
    # NumPy has no bfloat16 of its own; ml_dtypes registers Keras's name for it.
    return x * np.asarray(preprocessing.scale, dtype) + np.asarray(preprocessing.offset, dtype)


def decode_predictions(
    preds: Any, top: int = 5, class_names: Sequence[str] | None = None
) -> list[list[tuple]]:
    """Returns the most probable classes of each image, the best first.

    Args:
      preds: (batch, classes), probabilities or logits, a NumPy array or tensor.
      top: how many classes per image; fewer where there are fewer.
      class_names: one name per class; None means ImageNet's 1000, which Keras downloads once.

    Returns:
      For each image a list of (class index, name, score); with ImageNet's names (WordNet
      identifier, name, score), as keras.applications has it.

    Raises:
      ValueError: an argument is not as above.

    Example:
      >>> keras_shufflenet.decode_predictions(model(x), top=1, class_names=["cat", "dog"])
      [[(1, 'dog', 0.93)]]
    """
    check_positive_int("top", top)
    preds = keras.ops.convert_to_numpy(preds)
    classes = 1000 if class_names is None else len(class_names)
    if preds.ndim != 2 or preds.shape[1] != classes:
        raise ValueError(
            f"`preds` must have the shape (batch, {classes}), one column per class name. "
            f"Received: shape={preds.shape}"
        )
    if class_names is None:
        return keras.applications.imagenet_utils.decode_predictions(preds, top=top)
    best = np.argsort(-preds, axis=1, kind="stable")[:, :top]
    return [
        [(int(i), class_names[i], float(scores[i])) for i in indices]
        for scores, indices in zip(preds, best, strict=True)
    ]
