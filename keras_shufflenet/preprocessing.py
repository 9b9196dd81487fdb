"""From pixels to a network's input, and from its output to class names."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_shufflenet.keras_internals import flat_layers
from keras_shufflenet.layers import check_choice, check_positive_int


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A normalization: network input = pixel (0 to 255) * scale + offset.

    Attributes:
      scale: one factor per channel, or one for all channels.
      offset: one summand per channel, or one for all channels.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]


_IMAGENET_CLASSES = 1000
# ImageNet's mean and standard deviation of pixels in 0..1, red, green, blue, as in torchvision.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

# By mode, as keras.applications names them.
PREPROCESSING = {
    "tf": Preprocessing(scale=(1 / 127.5,), offset=(-1.0,)),
    "torch": Preprocessing(
        scale=tuple(1 / (255 * deviation) for deviation in _DEVIATION),
        offset=tuple(-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)),
    ),
    # Pixels as they are, which networks of Megvii's code expect.
    "raw": Preprocessing(scale=(1.0,), offset=(0.0,)),
    # From 0 to 1, as many PyTorch detectors expect.
    "unit": Preprocessing(scale=(1 / 255,), offset=(0.0,)),
}


# The class has the name of Keras's own, because weights files find a layer by its class name.
@keras.saving.register_keras_serializable(package="keras_shufflenet", name="StemConv2D")
class Conv2D(keras.layers.Conv2D):
    """A stem's convolution that knows how the pixels it sees were preprocessed.

    The mode belongs to the layer, so that it survives everything that keeps the layer: saving,
    cloning, mixed precision, other models on top of the same tensors.

    Args:
      preprocessing: a mode of `preprocess_input`.
      *args, **kwargs: arguments of keras.layers.Conv2D.
    """

    def __init__(self, *args: Any, preprocessing: str, **kwargs: Any):
        check_choice("preprocessing", preprocessing, tuple(PREPROCESSING))
        super().__init__(*args, **kwargs)
        self.preprocessing = preprocessing

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "preprocessing": self.preprocessing}


def stem_conv2d(*args: Any, preprocessing: str | None, **kwargs: Any) -> keras.layers.Conv2D:
    """Returns a Conv2D that knows its preprocessing, or Keras's own if `preprocessing` is None."""
    if preprocessing is None:
        return keras.layers.Conv2D(*args, **kwargs)
    return Conv2D(*args, preprocessing=preprocessing, **kwargs)


def preprocessing_of(model: keras.Model) -> str | None:
    """Returns the mode of `preprocess_input` that `model` expects, or None if it is not known.

    It is known for imported checkpoints and for networks built with `preprocessing=`.

    Args:
      model: a network of this package, or a model that contains one.

    Raises:
      ValueError: the model contains networks that expect different modes.

    Examples:
      >>> x = preprocess_input(images, mode=preprocessing_of(model) or "tf")
    """
    stems = [layer for layer in flat_layers(model) if isinstance(layer, Conv2D)]
    modes = sorted({stem.preprocessing for stem in stems})
    if len(modes) > 1:
        raise ValueError(f"`model` {model.name!r} has stems of several preprocessings: {modes}")
    return modes[0] if modes else None


def preprocess_input(x: Any, data_format: str | None = None, mode: str = "tf") -> Any:
    """Returns pixels normalized for the networks; `x` itself is not changed.

    Args:
      x: (..., height, width, channels), 0 to 255, any number type: a NumPy array, or a tensor of
        Keras's backend, symbolic ones too.
      data_format: None or "channels_last".
      mode: "tf" (to -1..1, any number of channels), "torch" (ImageNet's mean and deviation, red,
        green, blue), "unit" (to 0..1) or "raw" (0..255 as they are); `preprocessing_of` gives an
        imported network's.

    Returns:
      An array or tensor of the same shape, of type keras.config.floatx() (usually float32).

    Raises:
      ValueError: an argument is not as above.

    Examples:
      >>> x = keras_shufflenet.preprocess_input(np.array([[[0, 51, 255]]], np.uint8))
      >>> x.round(3)
      array([[[-1. , -0.6,  1. ]]], dtype=float32)
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
    """Returns the most probable classes of each image, best first.

    Args:
      preds: (batch, classes), probabilities or logits, a NumPy array or tensor.
      top: how many classes per image; fewer if there are fewer.
      class_names: one name per class; None means ImageNet's 1000, which Keras downloads once.

    Returns:
      For each image a list of (class index, name, score); with ImageNet's names (WordNet
      identifier, name, score), as in keras.applications.

    Raises:
      ValueError: an argument is not as above.

    Examples:
      >>> scores = np.array([[0.07, 0.93]])
      >>> keras_shufflenet.decode_predictions(scores, top=1, class_names=["cat", "dog"])
      [[(1, 'dog', 0.93)]]
    """
    check_positive_int("top", top)
    preds = keras.ops.convert_to_numpy(preds)
    classes = _IMAGENET_CLASSES if class_names is None else len(class_names)
    if preds.ndim != 2 or preds.shape[1] != classes:
        remedy = (
            " of ImageNet; name other classes with `class_names=`" if class_names is None else ""
        )
        raise ValueError(
            f"`preds` must have the shape (batch, {classes}), one column per class name{remedy}. "
            f"Received: shape={preds.shape}"
        )
    if class_names is None:
        return keras.applications.imagenet_utils.decode_predictions(preds, top=top)
    best = np.argsort(-preds, axis=1, kind="stable")[:, :top]
    return [
        [(int(i), class_names[i], float(scores[i])) for i in indices]
        for scores, indices in zip(preds, best, strict=True)
    ]
