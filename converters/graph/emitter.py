"""The deployment graph as a tf_keras model, which can be quantized, trained and converted."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from converters.graph.emitted_layers import (
    ChannelSlice,
    ChannelTranspose,
    Crop,
    EdgeFactor,
    Function,
    GroupedPointwise,
    QuantizeBorder,
    Resize,
    SpatialReduction,
    WindowAverage,
)
from converters.graph.operations import Graph
from converters.graph.operator import Op
from converters.graph.shapes import pair

Layer = tf_keras.layers.Layer
# The layer of each activation that stands by itself.
ACTIVATIONS = {"relu": tf_keras.layers.ReLU, "relu6": partial(tf_keras.layers.ReLU, 6.0)}


def _conv(op: Op) -> Layer:
    # Other grouped convolutions are not in ShuffleNets, and train as slowly as TensorFlow's.
    pointwise = op.weights.kernel.shape[:2] == (1, 1) and pair(op.settings["stride"]) == (1, 1)
    layer = GroupedPointwise if op.settings["groups"] > 1 and pointwise else tf_keras.layers.Conv2D
    return layer(
        op.channels,
        op.weights.kernel.shape[:2],
        op.settings["stride"],
        padding=op.settings["padding"],
        dilation_rate=op.settings["dilation"],
        groups=op.settings["groups"],
        activation=_activation(op),
        name=op.name,
    )


def _depthwise(op: Op) -> Layer:
    settings = op.settings
    return tf_keras.layers.DepthwiseConv2D(
        op.weights.kernel.shape[:2],
        settings["stride"],
        padding=settings["padding"],
        depth_multiplier=op.weights.kernel.shape[3],
        dilation_rate=settings["dilation"],
        activation=_activation(op),
        name=op.name,
    )


def _conv_transpose(op: Op) -> Layer:
    settings = op.settings
    return tf_keras.layers.Conv2DTranspose(
        op.channels,
        op.weights.kernel.shape[:2],
        settings["stride"],
        padding=settings["padding"],
        activation=_activation(op),
        name=op.name,
    )


def _activation(op: Op) -> Any:
    return tf.nn.relu6 if op.activation == "relu6" else op.activation


def _pool(layer: type[Layer]) -> Callable[[Op], Layer]:
    def make(op: Op) -> Layer:
        settings = op.settings
        return layer(settings["window"], settings["stride"], settings["padding"], name=op.name)

    return make


def _window_average(op: Op) -> Layer:
    settings = op.settings
    return WindowAverage(
        settings["padding"], pair(settings["window"]), pair(settings["stride"]), name=op.name
    )


def _gelu(op: Op) -> Layer:
    return Function("gelu_approximate" if op.settings["approximate"] else "gelu", name=op.name)


def _plain(layer: type[Layer]) -> Callable[[Op], Layer]:
    return lambda op: layer(name=op.name)


_LAYERS = tf_keras.layers
# How the layer of each kind of operator is made.
MAKERS: dict[str, Callable[[Op], Layer]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "conv_transpose": _conv_transpose,
    "dense": lambda op: _LAYERS.Dense(op.channels, _activation(op), name=op.name),
    "add": _plain(_LAYERS.Add),
    "subtract": _plain(_LAYERS.Subtract),
    "multiply": _plain(_LAYERS.Multiply),
    "maximum": _plain(_LAYERS.Maximum),
    "minimum": _plain(_LAYERS.Minimum),
    "mean": lambda op: SpatialReduction("mean", op.settings["keepdims"], name=op.name),
    "global_max": lambda op: SpatialReduction("max", op.settings["keepdims"], name=op.name),
    "relu": _plain(_LAYERS.ReLU),
    "relu6": lambda op: _LAYERS.ReLU(6.0, name=op.name),
    "leaky_relu": lambda op: _LAYERS.LeakyReLU(op.settings["slope"], name=op.name),
    "sigmoid": lambda op: _LAYERS.Activation("sigmoid", name=op.name),
    "softmax": lambda op: _LAYERS.Activation("softmax", name=op.name),
    "gelu": _gelu,
    **{kind: lambda op: Function(op.kind, name=op.name) for kind in ("elu", "hard_swish", "tanh")},
    "pad": lambda op: _LAYERS.ZeroPadding2D(op.settings["amounts"], name=op.name),
    "crop": lambda op: Crop(op.settings["amounts"], name=op.name),
    "max_pool": _pool(_LAYERS.MaxPooling2D),
    "average_pool": _pool(_LAYERS.AveragePooling2D),
    "window_average": _window_average,
    "edge_factor": lambda op: EdgeFactor(op.settings["rows"], op.settings["columns"], name=op.name),
    "resize": lambda op: Resize(op.settings["size"], op.settings["method"], name=op.name),
    "slice": lambda op: ChannelSlice(op.settings["start"], op.settings["stop"], name=op.name),
    "concat": lambda op: _LAYERS.Concatenate(_batch_axis(op), name=op.name),
    "transpose": lambda op: ChannelTranspose(op.settings["groups"], name=op.name),
    "permute": lambda op: _LAYERS.Permute([axis + 1 for axis in op.settings["axes"]], name=op.name),
    "reshape": lambda op: _LAYERS.Reshape(op.shape, name=op.name),
    "quantize": _plain(QuantizeBorder),
    "dequantize": _plain(QuantizeBorder),
    "requantize": _plain(QuantizeBorder),
}
# Operators that TFLite computes an activation with, but tf_keras's layers do not.
SEPARATE_ACTIVATION = ("add", "subtract", "multiply")


def _batch_axis(op: Op) -> int:
    """Returns the axis of a concatenation as tf_keras counts it: with the batch."""
    axis = op.settings.get("axis")
    return -1 if axis is None else axis + 1


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
    inputs: list[Any] = []
    tensors: dict[str, Any] = {}
    layers: dict[str, Layer] = {}
    for op in graph.ops.values():
        if op.kind == "input":
            x = tf_keras.layers.Input(op.shape, name=op.name)
            inputs.append(x)
        else:
            layer = layers[op.shares] if op.shares else wrap(op, MAKERS[op.kind](op))
            layers[op.name] = layer
            x = layer(_one_or_all([tensors[name] for name in op.inputs]))
            if op.kind in SEPARATE_ACTIVATION and op.activation:
                x = ACTIVATIONS[op.activation](name=f"{op.name}_relu")(x)
        tensors[op.name] = after(op, x)
    outputs = [tensors[name] for name in graph.outputs]
    model = tf_keras.Model(_one_or_all(inputs), _one_or_all(outputs), name="deployment_graph")
    load_weights(model, graph)
    return model


def _one_or_all(tensors: list) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors


def load_weights(model: tf_keras.Model, graph: Graph) -> None:
    """Copies the graph's weights into the model's layers of the same names."""
    for layer in model.layers:
        # A layer annotated for quantization is inside another layer.
        layer = getattr(layer, "layer", layer)
        op = graph.ops.get(layer.name)
        if op is not None and op.weights is not None:
            layer.set_weights([np.asarray(array) for array in op.weights])
