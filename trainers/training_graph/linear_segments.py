"""Splits a functional Keras model into linear segments, between which it branches and merges."""

from collections import Counter
from typing import NamedTuple

import keras

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


class LinearSegment(NamedTuple):
    """A series of layers; only the next layer uses the output of each.

    Attributes:
      inputs: keys of the inputs: one, or several for the merge.
      merge: the layer that merges several tensors into one, or None.
      layers: in order; empty if the segment is only a merge.
    """

    inputs: list[int]
    merge: keras.layers.Layer | None
    layers: list[keras.layers.Layer]

    @property
    def output(self) -> int:
        """The key of the segment's output."""
        return id([self.merge, *self.layers][-1].output)


def key_of_images(model: keras.Model) -> int:
    """Returns the key of the model's input."""
    return id(model.input)


def split(model: keras.Model) -> list[LinearSegment]:
    """Returns a model's layers as segments, each after the segments whose output it uses.

    The result is empty if the model cannot be computed by calling each layer once with
    `training=True`: with frozen layers, layers of other packages, regularized activations, several
    inputs or outputs.

    Args:
      model: any model.
    """
    if not _is_plain(model):
        return []
    layers = model.layers[1:]
    inputs = [[id(tensor) for tensor in keras.tree.flatten(layer.input)] for layer in layers]
    uses = Counter(key for keys in inputs for key in keys)
    segments: list[LinearSegment] = []
    ends: dict[int, LinearSegment | None] = {key_of_images(model): None}
    for layer, keys in zip(layers, inputs, strict=True):
        # A key is missing if another model called the layer before.
        if not all(key in ends for key in keys):
            return []
        segment = ends[keys[0]]
        merge = layer if len(keys) > 1 else None
        if merge or segment is None or uses[keys[0]] > 1:
            segment = LinearSegment(keys, merge, [])
            segments.append(segment)
        if not merge:
            segment.layers.append(layer)
        ends[id(layer.output)] = segment
    return segments


def _is_plain(model: keras.Model) -> bool:
    """Returns whether the model only calls layers that are known here, each once."""
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
    """Returns whether a layer is called once, with only its input, or merges several inputs."""
    # Its loss would be of a call that the training graph does not make.
    if getattr(layer, "activity_regularizer", None) is not None:
        return False
    if not layer.trainable or type(layer).__module__.partition(".")[0] not in _PACKAGES:
        return False
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return False
    if not isinstance(layer.output, keras.KerasTensor):
        return False
    if len(keras.tree.flatten(layer.input)) > 1 and not isinstance(layer, _MERGES):
        return False
    return len(calls) == 1 and all(value is None for value in calls[0]["kwargs"].values())
