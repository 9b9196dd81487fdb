"""What a model of `converters.quantization_aware` was made of, for its conversion."""

import weakref
from typing import NamedTuple

import tf_keras

from converters.graph.operations import Graph

# What each model was made of, as long as the model exists: graph, target and name.
_ORIGINS = weakref.WeakKeyDictionary[tf_keras.Model, tuple[Graph, str, str]]()


class QuantizedSource(NamedTuple):
    """What `quantization_aware` made a model of, and the model.

    Attributes:
      graph: the deployment graph, with the float weights from before the training.
      model: the model with int8 rounding in it.
      target: whose lowering the graph has.
      name: of the model that it was made of.
    """

    graph: Graph
    model: tf_keras.Model
    target: str
    name: str


def with_origin(model: tf_keras.Model, graph: Graph, target: str, name: str) -> tf_keras.Model:
    """Returns a model, after noting what it was made of.

    Args:
      model: with int8 rounding in it.
      graph, target, name: as in `QuantizedSource`.
    """
    _ORIGINS[model] = graph, target, name
    return model


def quantized_source(model: object) -> QuantizedSource | None:
    """Returns the deployment graph, the model and the target, if `quantization_aware` made it.

    Args:
      model: anything.

    Returns:
      None for a model from elsewhere, and for one that was built around it.

    Examples:
      >>> quantized_source(aware).target
      'cpu'
    """
    if not isinstance(model, tf_keras.Model) or model not in _ORIGINS:
        return None
    graph, target, name = _ORIGINS[model]
    return QuantizedSource(graph, model, target, name)
