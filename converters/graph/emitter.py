"""The deployment graph as a tf_keras model, which can be quantized, trained and converted."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from converters.graph.operations import Graph, Op
from keras_shufflenet.layers import ungrouped_kernel

register = tf_keras.utils.register_keras_serializable(package="keras_shufflenet")
Layer = tf_keras.layers.Layer


@register
class ChannelSlice(Layer):
    """Channels `start` to `stop` of (batch, height, width, channels)."""

    def __init__(self, start: int, stop: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.start = start
        self.stop = stop

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the slice."""
        # XNNPACK only accepts explicit sizes; these indices give them if the batch is fixed.
        return inputs[..., self.start : self.stop]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "start": self.start, "stop": self.stop}


@register
class ChannelTranspose(Layer):
    """A channel shuffle of `groups` groups as a transpose of three dimensions."""

    def __init__(self, groups: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `inputs` with channel i * n + j moved to j * groups + i."""
        _, height, width, channels = inputs.shape
        x = tf.reshape(inputs, (-1, self.groups, channels // self.groups))
        x = tf.transpose(x, (0, 2, 1))
        return tf.reshape(x, (-1, height, width, channels))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "groups": self.groups}


@register
class SpatialReduction(Layer):
    """The mean or maximum over height and width; `kind` is "mean" or "max"."""

    def __init__(self, kind: str, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.kind = kind
        self.keepdims = keepdims

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns (batch, channels), or (batch, 1, 1, channels) with `keepdims`."""
        reduce = {"mean": tf.reduce_mean, "max": tf.reduce_max}[self.kind]
        return reduce(inputs, (1, 2), keepdims=self.keepdims)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "kind": self.kind, "keepdims": self.keepdims}


@register
class WindowAverage(Layer):
    """Averages 3x3 pixels at stride 2 with a depthwise convolution of constant weights.

    Zeros that pad the image count as pixels. `padding` is "same" or "valid".
    """

    def __init__(self, padding: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = padding

    def kernel(self, channels: int) -> tf.Tensor:
        """Returns the weights (3, 3, channels, 1)."""
        return tf.fill((3, 3, channels, 1), 1 / 9)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the averages."""
        kernel = self.kernel(inputs.shape[-1])
        return tf.nn.depthwise_conv2d(inputs, kernel, (1, 2, 2, 1), self.padding.upper())

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "padding": self.padding}


@register
class EdgeFactor(Layer):
    """Multiplies every pixel by the factor of its row and of its column."""

    def __init__(self, rows: Sequence[float], columns: Sequence[float], **kwargs: Any):
        super().__init__(**kwargs)
        self.rows = rows
        self.columns = columns

    def factors(self) -> tf.Tensor:
        """Returns the products of the factors, (1, height, width, 1)."""
        return tf.constant(np.outer(self.rows, self.columns)[None, ..., None], tf.float32)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the products."""
        return inputs * self.factors()

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rows": self.rows, "columns": self.columns}


@register
class GroupedPointwise(tf_keras.layers.Conv2D):
    """A grouped 1x1 convolution that trains fast, as in `keras_shufflenet.layers`."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the convolution; in training, as a product with the block-diagonal matrix."""
        if not training:
            return super().call(inputs)
        matrix = tf.squeeze(ungrouped_kernel(self.kernel, self.groups), (0, 1))
        return self.activation(tf.tensordot(inputs, matrix, axes=1) + self.bias)


def _conv(op: Op) -> Layer:
    grouped = op.settings["groups"] > 1
    layer = GroupedPointwise if grouped else tf_keras.layers.Conv2D
    return layer(
        op.channels,
        op.weights.kernel.shape[:2],
        op.settings["stride"],
        padding=op.settings["padding"],
        groups=op.settings["groups"],
        activation=op.settings["activation"],
        name=op.name,
    )


def _depthwise(op: Op) -> Layer:
    settings = op.settings
    return tf_keras.layers.DepthwiseConv2D(
        3, settings["stride"], padding=settings["padding"], name=op.name
    )


def _plain(layer: type[Layer]) -> Callable[[Op], Layer]:
    return lambda op: layer(name=op.name)


_LAYERS = tf_keras.layers
# How the layer of each kind of operator is made.
MAKERS: dict[str, Callable[[Op], Layer]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "dense": lambda op: _LAYERS.Dense(op.channels, name=op.name),
    "add": _plain(_LAYERS.Add),
    "multiply": _plain(_LAYERS.Multiply),
    "mean": lambda op: SpatialReduction("mean", op.settings["keepdims"], name=op.name),
    "global_max": lambda op: SpatialReduction("max", op.settings["keepdims"], name=op.name),
    "sigmoid": lambda op: _LAYERS.Activation("sigmoid", name=op.name),
    "softmax": lambda op: _LAYERS.Activation("softmax", name=op.name),
    "pad": lambda op: _LAYERS.ZeroPadding2D(1, name=op.name),
    "max_pool": lambda op: _LAYERS.MaxPooling2D(3, 2, op.settings["padding"], name=op.name),
    "average_pool": lambda op: _LAYERS.AveragePooling2D(3, 2, op.settings["padding"], name=op.name),
    "window_average": lambda op: WindowAverage(op.settings["padding"], name=op.name),
    "edge_factor": lambda op: EdgeFactor(op.settings["rows"], op.settings["columns"], name=op.name),
    "slice": lambda op: ChannelSlice(op.settings["start"], op.settings["stop"], name=op.name),
    "concat": lambda op: _LAYERS.Concatenate(name=op.name),
    "transpose": lambda op: ChannelTranspose(op.settings["groups"], name=op.name),
}


def emit(
    graph: Graph,
    wrap: Callable[[Op, Layer], Layer] = lambda op, layer: layer,
    after: Callable[[Op, Any], Any] = lambda op, x: x,
) -> tf_keras.Model:
    """Returns the graph as a functional tf_keras model, with its weights.

    Args:
      graph: the deployment graph.
      wrap: called with every operator and its layer; returns the layer to use (quantization
        annotates layers here).
      after: called with every operator and its output tensor; returns the tensor that its
        consumers get (quantization adds fake quantization here).

    Examples:
      >>> logits = emit(deployment_graph(model))(images)
    """
    tensors: dict[str, Any] = {}
    for op in graph.ops.values():
        if op.kind == "input":
            image = tf_keras.layers.Input(op.settings["shape"], name=op.name)
            tensors[op.name] = after(op, image)
            continue
        inputs = [tensors[name] for name in op.inputs]
        x = wrap(op, MAKERS[op.kind](op))(inputs if len(inputs) > 1 else inputs[0])
        if op.kind in ("add", "multiply") and op.settings["activation"]:
            # TFLite fuses it into the operator before it.
            x = tf_keras.layers.ReLU(name=f"{op.name}_relu")(x)
        tensors[op.name] = after(op, x)
    model = tf_keras.Model(image, tensors[graph.output], name="deployment_graph")
    load_weights(model, graph)
    return model


def load_weights(model: tf_keras.Model, graph: Graph) -> None:
    """Copies the graph's weights into the model's layers of the same names."""
    for layer in model.layers:
        # A layer annotated for quantization is inside another layer.
        layer = getattr(layer, "layer", layer)
        op = graph.ops.get(layer.name)
        if op is not None and op.weights is not None:
            layer.set_weights([np.asarray(array) for array in op.weights])
