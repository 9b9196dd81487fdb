"""What a classifier must be to fit a training's images, and its logits if it has a softmax."""

import re
from pathlib import Path
from typing import Any

import keras

from common.cli import UserError
from keras_shufflenet.keras_internals import flat_layers, producer
from trainers.data.class_names import LABELS_FILE
from trainers.settings import ImageConfig

_SOFTMAX = keras.activations.softmax
# What TensorFlow allows in the name of an operation's scope; Keras makes one of each layer's name.
_SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*", re.ASCII)


def check_classifier(model: keras.Model, images: ImageConfig, classes: int, path: Path) -> None:
    """Raises UserError unless `model`, from `path`, is a classifier for a training's images.

    Args:
      model: a model that was loaded.
      images: the training's; input_size matters.
      classes: number of labels of the training.
      path: the model's file, for the message.
    """
    try:
        inputs, outputs = model.input_shape, model.output_shape
    # Keras's own words for a model without symbolic inputs.
    except (AttributeError, ValueError):
        inputs = outputs = None
    check_shapes(inputs, outputs, images, classes, path)


def check_shapes(inputs: Any, outputs: Any, images: ImageConfig, classes: int, path: Path) -> None:
    """Does the same for a model that is given by its shapes, with the batch."""
    if not (_is_shape(inputs, 4) and _is_shape(outputs, 2)):
        raise UserError(
            f"{path} is not an image classifier: it maps {inputs} to {outputs}, not (batch, "
            "height, width, channels) to (batch, classes); name another model"
        )
    if outputs[-1] != classes:
        raise UserError(
            f"{path} has {outputs[-1]} classes, but {LABELS_FILE} has {classes} labels; "
            "they are not from the same training: name the workdir that the model comes from"
        )
    if any(size not in (None, images.input_size) for size in inputs[1:3]):
        raise UserError(
            f"{path} expects images of {inputs[1]}x{inputs[2]} pixels, but the training's "
            f"config.json says input_size {images.input_size}; name the workdir that the model "
            "comes from, or correct config.json"
        )


def check_channels(inputs: tuple, channels: int, path: Path, data: str) -> None:
    """Raises UserError unless a model's input, a shape, has as many channels as the data."""
    if inputs[-1] != channels:
        raise UserError(
            f"{path} expects images of {inputs[-1]} channels, but those of {data} have {channels}; "
            "name the data that it was trained on"
        )


def check_precision(model: keras.Model, path: Path) -> None:
    """Raises UserError if a layer of `model`, from `path`, computes in another type than float32.

    Trainings save float32 networks in mixed precision, too.
    """
    for layer in flat_layers(model):
        if layer.compute_dtype in ("float16", "bfloat16", "float64"):
            raise UserError(
                f"{path} computes in {layer.compute_dtype} (layer {layer.name!r}), but conversion "
                "needs float32; build the network with the dtype float32, copy the weights with "
                "set_weights and save that"
            )


def check_names(model: keras.Model, path: Path | str) -> None:
    """Raises UserError if TensorFlow refuses the name of `model`, from `path`, or of its layers."""
    for layer in (model, *flat_layers(model)):
        if _SCOPE.fullmatch(layer.name) is None:
            kind = "model" if isinstance(layer, keras.Model) else "layer"
            raise UserError(
                f"{path} has a {kind} of the name {layer.name!r}, which TensorFlow refuses; give "
                "it another .name in Python, of a to z, digits and _ . - / alone, and save it"
            )


def without_softmax(model: keras.Model) -> keras.Model:
    """Returns `model` without the softmax that it ends with; `model` itself if it has none.

    The softmax is the last layer or operation, or the activation of the last layer. The result has
    the same layers and weights.

    Args:
      model: a classifier.

    Examples:
      >>> logits = without_softmax(ShuffleNetV2(classes=10))(images)
    """
    # A subclassed model has no symbolic tensors, so nothing is known about its end.
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        return model
    last, inputs = producer(outputs[0])
    if len(inputs) != 1:
        return model
    if isinstance(last, keras.Model):
        shorter = without_softmax(last)
        return model if shorter is last else _shortened(model, shorter(*inputs))
    if _is_softmax(last):
        return _shortened(model, *inputs)
    if getattr(last, "activation", None) is not _SOFTMAX:
        return model
    linear = type(last).from_config({**last.get_config(), "activation": "linear"})
    logits = linear(*inputs)
    linear.set_weights(last.get_weights())
    return _shortened(model, logits)


def _shortened(model: keras.Model, output: keras.KerasTensor) -> keras.Model:
    return keras.Model(model.inputs[0], output, name=model.name)


def _is_softmax(operation: Any) -> bool:
    # keras.ops.softmax in a functional model is an operation of the same name as the layer.
    if isinstance(operation, keras.layers.Activation):
        return operation.activation is _SOFTMAX
    return type(operation).__name__ == "Softmax"


def _is_shape(shape: Any, dimensions: int) -> bool:
    """Returns whether this is one shape, and not those of several tensors."""
    return (
        isinstance(shape, tuple)
        and len(shape) == dimensions
        and all(size is None or isinstance(size, int) for size in shape)
    )
