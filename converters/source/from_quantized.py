"""A model of `converters.quantization_aware`, trained or not, as the source of a conversion."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.cli import UserError
from common.manifest import CLASSIFICATION, OTHER
from converters.graph.operations import Graph
from converters.quantized_source import QuantizedSource
from converters.source.arrays import read_examples
from converters.source.classes import checked_names, classes_of, no_classifier
from converters.source.network import Input, Network
from converters.source.pixels import pixel_mode


def network_of_quantized(
    source: QuantizedSource,
    images: Any,
    labels: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    preprocessing: str | None = None,
    name: str | None = None,
    limit: int,
) -> Network:
    """Returns a fake-quantized model with examples, ready to be converted to int8.

    It is converted as it is: a softmax at its end stays. All examples are for the check, because
    its ranges are known.

    Args:
      source: as `converters.quantized_source.quantized_source` returns it.
      images, labels, class_names, preprocessing, name, limit: as `network_of_model` takes them.

    Raises:
      UserError: the examples cannot be used; the message names the argument.
    """
    graph, model = source.graph, source.model
    names = _output_names(graph)
    inputs = [Input(each, graph.ops[each].shape) for each in graph.inputs]
    classes = classes_of(model)
    if not classes and (labels is not None or class_names is not None):
        raise no_classifier(model, names)
    given = read_examples(images, labels, inputs, classes, limit)
    final = [
        Input(each.name, each.shape, pixel_mode(model, tensor, array, preprocessing))
        for each, tensor, array in zip(inputs, model.inputs, given.arrays, strict=True)
    ]
    is_classifier = class_names is not None or given.labels is not None
    if is_classifier:
        class_names = checked_names(class_names, classes, names[0])
    return Network(
        name=name or source.name,
        model=model,
        inputs=tuple(final),
        outputs=names,
        calibration=_no_calibration,
        evaluation=given.first,
        task=CLASSIFICATION if is_classifier else OTHER,
        labels=tuple(class_names) if is_classifier else (),
        description={"model": {"parameters": _parameters(graph), "macs": None}, "training": {}},
        quantized=(graph, model),
    )


def _output_names(graph: Graph) -> tuple[str, ...]:
    """Returns the names of the layers that give the outputs, or numbers if a name repeats."""
    ops = [graph.ops[name] for name in graph.outputs]
    names = tuple(op.layers[-1] if op.layers else op.name for op in ops)
    return names if len(set(names)) == len(names) else tuple(map(str, range(len(names))))


def _no_calibration(count: int) -> tuple:
    raise UserError("a model of quantization_aware has its ranges; convert it with int8-qat")


def _parameters(graph: Graph) -> int:
    folded = [op.weights for op in graph.ops.values() if op.weights and op.shares is None]
    return sum(int(np.size(array)) for weights in folded for array in weights)
