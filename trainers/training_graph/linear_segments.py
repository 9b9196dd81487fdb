"""Splits a functional Keras model into linear segments, between which it branches and merges."""

import dataclasses
from collections import Counter

import keras

from keras_shufflenet.keras_internals import CallNode, call_nodes

# Layers from other packages may be subclasses that compute something else than their base class.
_PACKAGES = ("keras", "keras_shufflenet")
_MERGES = (
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Concatenate,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Subtract,
)


@dataclasses.dataclass
class LinearSegment:
    """A series of layers; only the next layer uses the output of each.

    Attributes:
      inputs: keys of the inputs: one, or several for the merge.
      merge: the layer that merges several tensors into one, or None.
      layers: in order; empty if the segment is only a merge.
      output: the key of the segment's output.
    """

    inputs: list[int]
    merge: keras.layers.Layer | None
    layers: list[keras.layers.Layer] = dataclasses.field(default_factory=list)
    output: int = 0


def key_of_images(model: keras.Model) -> int:
    """Returns the key of the model's input."""
    return id(model.input)


def split(model: keras.Model) -> list[LinearSegment]:
    """Returns a model's layers as segments, each after the segments whose output it uses.

    The result is empty if the model cannot be computed by calling its layers with `training=True`:
    with frozen layers, layers of other packages, regularized activations, several inputs or
    outputs, or a layer that is called again and keeps statistics.

    Args:
      model: any model.
    """
    if not _is_plain(model):
        return []
    calls = call_nodes(model)
    if not all(_is_linear_or_merge(call) for call in calls):
        return []
    inputs = [[id(tensor) for tensor in call.inputs] for call in calls]
    uses = Counter(key for keys in inputs for key in keys)
    segments: list[LinearSegment] = []
    ends: dict[int, LinearSegment | None] = {key_of_images(model): None}
    for call, keys in zip(calls, inputs, strict=True):
        segment = ends[keys[0]]
        merge = call.operation if len(keys) > 1 else None
        if merge or segment is None or uses[keys[0]] > 1:
            segment = LinearSegment(keys, merge)
            segments.append(segment)
        if not merge:
            segment.layers.append(call.operation)
        segment.output = id(call.outputs[0])
        ends[segment.output] = segment
    return segments


def _is_linear_or_merge(call: CallNode) -> bool:
    is_merge = isinstance(call.operation, _MERGES)
    return len(call.outputs) == 1 and (len(call.inputs) == 1 or is_merge)


def _is_plain(model: keras.Model) -> bool:
    """Returns whether the model only calls layers that are known here."""
    # Functional, not Sequential or a subclass.
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        return False
    if not all(isinstance(tensor, keras.KerasTensor) for tensor in (model.input, model.output)):
        return False
    if len(model.operations) != len(model.layers):
        return False
    calls = {layer["name"]: layer["inbound_nodes"] for layer in model.get_config()["layers"]}
    return all(_is_known(layer, calls[layer.name]) for layer in model.layers[1:])


def _is_known(layer: keras.layers.Layer, calls: list[dict]) -> bool:
    """Returns whether a layer is called with nothing but its inputs, and computes what it says."""
    # Its loss would be of a call that the training graph does not make.
    if getattr(layer, "activity_regularizer", None) is not None:
        return False
    if not layer.trainable or type(layer).__module__.partition(".")[0] not in _PACKAGES:
        return False
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return False
    # With statistics, it would matter which call comes first.
    if len(calls) > 1 and layer.non_trainable_variables:
        return False
    return all(value is None for call in calls for value in call["kwargs"].values())
