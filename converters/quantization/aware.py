"""Quantization-aware training of any functional Keras 3 model, with the user's own loss and loop.

`quantization_aware` rewrites the model as its deployment graph, finds the ranges of the activations
from images, and returns the graph with int8 rounding in it as a tf_keras model: what is trained is
what the .tflite file computes.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tf_keras

from converters.graph.deployment import deployment_graph
from converters.graph.operations import Graph
from converters.graph.targets import LOWERINGS
from converters.options import DEFAULT_METHOD
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import Range, fake_quant_model
from converters.quantization.options import QuantizationOptions, apply_options
from converters.quantized_source import with_origin

DEFAULT_OPTIONS = QuantizationOptions()


def quantization_aware(
    model: keras.Model,
    calibration_images: np.ndarray | Sequence[np.ndarray],
    *,
    target: str = "cpu",
    ranges: str = DEFAULT_METHOD,
    pixels: Range | None = None,
    options: QuantizationOptions = DEFAULT_OPTIONS,
) -> tf_keras.Model:
    """Returns a model's deployment graph with int8 rounding in it, to train and to convert.

    It is a tf_keras model: compile it with tf_keras's optimizer and losses and call `fit`, or train
    its `trainable_variables` in a loop of your own. BatchNormalization is part of the convolutions,
    Dropout is gone, and the ranges of the activations do not train. Without a step it computes what
    post-training quantization does. In training, a softmax or sigmoid at the end is not rounded: a
    probability that is rounded to 0 would have no gradient.

    Args:
      model: a trained functional or Sequential Keras 3 model whose layers have rules
        (docs/deployment.md), with any number of outputs; it is not changed.
      calibration_images: float32 (n, height, width, channels) as the model takes them, some
        hundred from the training data; with several inputs, an array for each.
      target: "cpu", "micro", "edgetpu" or "ethosu".
      ranges: "minmax", "percentile" or "mse" (`converters.quantization.calibration.calibrate`).
      pixels: the smallest and largest possible value of the input, such as (0, 255) or (-1, 1), so
        that no later image is clipped; None: those of the calibration images.
      options: which layers stay float32, and other exceptions.

    Returns:
      A model with the inputs and outputs of `model`. `save_weights` and `load_weights` keep and
      restore it exactly, ranges included.

    Raises:
      UserError: a layer has no rule, or an option's layer no operator (the message names it), or a
        weight is non-finite.
      ValueError: an argument is not one of its choices, the images do not fit the model, or an
        activation is non-finite.

    Examples:
      >>> aware = quantization_aware(model, images[:256], pixels=(-1, 1))
      >>> aware.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
      >>> aware.fit(images, labels)
      >>> converters.convert(aware, "artifact", images, labels, quantization=["int8-qat"])
    """
    if target not in LOWERINGS:
        raise ValueError(f"`target` must be one of {tuple(LOWERINGS)}. Received: target={target!r}")
    images = _float_arrays(model, calibration_images)
    graph = deployment_graph(model, target, size=images[0].shape[1])
    _check_images(graph, images)
    graph = apply_options(graph, options)
    aware = fake_quant_model(graph, calibrate(graph, images, ranges, pixels))
    return with_origin(aware, graph, target, model.name)


def _float_arrays(model: keras.Model, images: np.ndarray | Sequence[np.ndarray]) -> list:
    several = len(getattr(model, "inputs", None) or ()) > 1
    arrays = [np.asarray(array, np.float32) for array in (images if several else [images])]
    if not arrays or any(array.ndim < 2 or not len(array) for array in arrays):
        raise ValueError(
            "`calibration_images` must be an array of images; with several inputs, one for each. "
            f"Received: shapes {[array.shape for array in arrays]}"
        )
    return arrays


def _check_images(graph: Graph, images: Sequence[np.ndarray]) -> None:
    expected = [graph.ops[name].shape for name in graph.inputs]
    found = [array.shape[1:] for array in images]
    if expected != found or len({len(array) for array in images}) != 1:
        raise ValueError(
            f"`calibration_images` must have the shapes (n, ...) of the model's inputs {expected}. "
            f"Received: shapes {[array.shape for array in images]}"
        )
