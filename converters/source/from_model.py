"""A Keras model from Python, with arrays, as the source of a conversion."""

from collections.abc import Sequence
from typing import Any

import keras
import tf_keras

from common.cli import UserError
from common.manifest import CLASSIFICATION, OTHER
from converters.options import MIN_CALIBRATION_IMAGES
from converters.quantized_source import quantized_source
from converters.source.arrays import divided, read_examples
from converters.source.checks import check_model, plain
from converters.source.classes import checked_names, classes_of, no_classifier
from converters.source.from_quantized import network_of_quantized
from converters.source.network import Input, Network, Samples
from converters.source.pixels import check_values, pixel_mode
from keras_shufflenet.complexity import complexity
from trainers.networks.classifiers import without_softmax

# The number of examples that are read of a data set, unless it has fewer.
EXAMPLES = 1024


def network_of_model(
    model: keras.Model | tf_keras.Model,
    images: Any,
    labels: Any = None,
    *,
    check: tuple[Any, Any] | None = None,
    class_names: Sequence[str] | None = None,
    preprocessing: str | None = None,
    outputs: Sequence[str] | None = None,
    size: int | None = None,
    name: str | None = None,
    limit: int = EXAMPLES,
    photograph: dict | None = None,
) -> Network:
    """Returns a model with examples, ready to be converted.

    It is a classifier if it has one output [batch, classes] and labels or class names are given:
    then a softmax at its end is left out.

    Args:
      model: a functional or Sequential Keras 3 model, trained; or one of `quantization_aware`, for
        which `check`, `outputs` and `size` are not.
      images: examples for calibration and for the check: an array [n, ...], a list or dict of
        arrays for several inputs, or a `tf.data.Dataset`. uint8 images are pixels, all other
        arrays what the model takes (`model.predict`).
      labels: the correct classes [n], if they are known and not in the data set.
      check: other examples and labels for the check; None: a part of `images`.
      class_names: in the order of the output; None: "0", "1", …
      preprocessing: how a pixel becomes the model's input (`preprocess_input`); None: as the model
        says.
      outputs: names of the outputs to convert, in their order; None: all.
      size: height and width in pixels, if the model does not fix them.
      name: of the network; None: the model's.
      limit: the number of examples that are read of a data set at most.
      photograph: how a photograph became these images, for the manifest.

    Raises:
      UserError: the model or the examples cannot be used; the message names the layer, or the
        argument.

    Examples:
      >>> network = network_of_model(model, images, labels, class_names=["cat", "dog"])
    """
    quantized = quantized_source(model)
    if quantized is not None:
        if outputs is not None or size is not None:
            raise UserError(
                "outputs and size are for float models; choose them before quantization_aware"
            )
        said = {"class_names": class_names, "preprocessing": preprocessing, "name": name}
        return network_of_quantized(quantized, images, labels, **said, limit=limit)
    check_model(model)
    model, names = plain(model, outputs, size)
    inputs = [Input(tensor.name, tuple(tensor.shape[1:])) for tensor in model.inputs]
    classes = classes_of(model)
    if not classes and (labels is not None or class_names is not None):
        raise no_classifier(model, names)
    if class_names is not None:
        class_names = checked_names(class_names, classes, names[0])
    given = read_examples(images, labels, inputs, classes, limit)
    parts = divided(given)
    if check is not None:
        parts = given, read_examples(*check, inputs, classes, limit)
    is_classifier = class_names is not None or given.labels is not None
    if is_classifier:
        class_names = checked_names(class_names, classes, names[0])
        model = _logits(model)
    modes = []
    for tensor, array in zip(model.inputs, given.arrays, strict=True):
        modes.append(pixel_mode(model, tensor, array, preprocessing))
        check_values(array, modes[-1], tensor.name)
    final = tuple(
        Input(each.name, each.shape, mode, photograph or {})
        for each, mode in zip(inputs, modes, strict=True)
    )
    return Network(
        name=name or model.name,
        model=model,
        inputs=final,
        outputs=tuple(names),
        calibration=lambda count: _calibration(final, parts[0].first(count)),
        evaluation=parts[1].first,
        task=CLASSIFICATION if is_classifier else OTHER,
        labels=tuple(class_names) if is_classifier else (),
        description={"model": describe_size(model), "training": {}},
    )


def describe_size(model: keras.Model) -> dict[str, int | None]:
    """Returns the numbers of a model's parameters and multiply-adds (None: unknown)."""
    try:
        totals = complexity(model)
    except ValueError:  # Of layers that only Keras can count.
        return {"parameters": model.count_params(), "macs": None}
    return {"parameters": totals.parameters, "macs": totals.macs}


def _logits(model: keras.Model) -> keras.Model:
    logits = without_softmax(model)
    if logits is not model:
        print(f"{model.name} ends with a softmax: what is converted are the logits before it")
    return logits


def _calibration(inputs: Sequence[Input], samples: Samples) -> tuple:
    if len(samples) < MIN_CALIBRATION_IMAGES:
        raise UserError(
            f"images has {len(samples)} examples for calibration, but int8 needs "
            f"{MIN_CALIBRATION_IMAGES}; give more"
        )
    return tuple(each.values(array) for each, array in zip(inputs, samples.arrays, strict=True))
