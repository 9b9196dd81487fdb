"""How a pixel becomes a model's input: what the model says of it, and never a guess."""

from typing import Any

import keras
import numpy as np
import tf_keras

from common.cli import UserError
from keras_shufflenet import preprocessing_of
from keras_shufflenet.keras_internals import CallNode, call_nodes, functional
from keras_shufflenet.preprocessing import PREPROCESSING

_LAYERS = keras.layers
# Pixels from 0 to 255: what takes them as they are.
RAW = "raw"
# Layers before the normalization that a pixel passes unchanged, or mixed with its neighbours.
_PASSING = (
    *(_LAYERS.Resizing, _LAYERS.CenterCrop, _LAYERS.ZeroPadding2D, _LAYERS.Cropping2D),
    *(_LAYERS.RandomFlip, _LAYERS.RandomRotation, _LAYERS.RandomZoom, _LAYERS.RandomTranslation),
    *(_LAYERS.RandomContrast, _LAYERS.RandomBrightness, _LAYERS.RandomCrop, _LAYERS.Identity),
)
# A factor as small as this, or a mean as large, is of pixels up to 255, not of shares up to 1.
_SMALL, _LARGE = 1 / 16, 1.5


def pixel_mode(
    model: keras.Model | tf_keras.Model, tensor: Any, samples: np.ndarray, preprocessing: str | None
) -> str | None:
    """Returns how a pixel becomes the value of an input, a mode of `preprocess_input`.

    Args:
      model: functional or Sequential, or fake-quantized.
      tensor: one of its inputs.
      samples: examples for it; uint8 images are pixels.
      preprocessing: what the user says; None: nothing.

    Returns:
      None if the input is no image, or nothing says it and the samples are no pixels.

    Raises:
      UserError: the samples are pixels and nothing says how they become the input; or the user and
        the model say different things, or the mode is unknown.
    """
    if preprocessing is not None and preprocessing not in PREPROCESSING:
        raise UserError(
            f"--preprocessing must be one of {', '.join(PREPROCESSING)}; received {preprocessing!r}"
        )
    if len(tensor.shape) != 4:
        return None
    # A fake-quantized model is none of Keras 3, and says nothing.
    said = _said(model, tensor) if isinstance(model, keras.Model) else None
    if None not in (said, preprocessing) and said != preprocessing:
        raise UserError(
            f"model {model.name!r} is for pixels of preprocessing {said!r}, not {preprocessing!r}; "
            "leave --preprocessing out"
        )
    mode = said or preprocessing
    if mode is None and samples.dtype == np.uint8:
        raise UserError(
            f"model {model.name!r} does not say how pixels become its input; say it with "
            "--preprocessing (preprocessing=): tf (-1 to 1), torch (ImageNet's mean and deviation) "
            "or raw (0 to 255); or give float32 values as the model takes them"
        )
    channels = 1 if mode is None else len(PREPROCESSING[mode].scale)
    if channels not in (1, tensor.shape[-1]):
        raise UserError(
            f"--preprocessing={mode} is for images of {channels} channels, but input "
            f"{tensor.name!r} has {tensor.shape[-1]}"
        )
    return mode


def check_values(values: np.ndarray, mode: str | None, name: str) -> None:
    """Raises UserError if an input's values are far from what pixels become: another unit.

    Args:
      values: examples; of uint8 images nothing is checked.
      mode: of `pixel_mode`; None: nothing is known.
      name: of the input.
    """
    if mode is None or values.dtype == np.uint8:
        return
    scale, offset = np.asarray(PREPROCESSING[mode].scale), np.asarray(PREPROCESSING[mode].offset)
    low, high = float(np.min(offset)), float(np.max(255 * scale + offset))
    margin = (high - low) / 2  # Of images that a filter has sharpened, or noise.
    least, most = float(values.min()), float(values.max())
    if least < low - margin or most > high + margin:
        raise UserError(
            f"the images of input {name!r} have values from {least:.3g} to {most:.3g}, but "
            f"preprocessing {mode!r} makes {low:.3g} to {high:.3g} of pixels; give pixels as "
            "uint8, or values as the model takes them"
        )


def _said(model: keras.Model, tensor: Any) -> str | None:
    try:
        known = preprocessing_of(model)
    except ValueError as error:
        raise UserError(f"{error}; convert one of the networks alone") from None
    if known is None and _normalizes(functional(model), tensor):
        return RAW
    return known


def _normalizes(model: Any, tensor: Any) -> bool:
    """Returns whether all that takes a tensor of pixels begins with a normalization of pixels."""
    takers = [node for node in call_nodes(model) if any(x is tensor for x in node.inputs)]
    return bool(takers) and all(_begins_with_it(model, node, tensor) for node in takers)


def _begins_with_it(model: Any, node: CallNode, tensor: Any) -> bool:
    layer = node.operation
    if isinstance(layer, _LAYERS.Rescaling):
        return float(np.max(np.abs(layer.scale))) <= _SMALL
    if isinstance(layer, _LAYERS.Normalization):
        return not layer.invert and float(np.max(np.asarray(layer.mean))) >= _LARGE
    if isinstance(layer, _PASSING):
        return _normalizes(model, node.outputs[0])
    inner = functional(layer)
    if inner is None:
        return False
    index = next(i for i, x in enumerate(node.inputs) if x is tensor)
    return _normalizes(inner, inner.inputs[index])
