"""Fake quantization of the deployment graph with tensorflow-model-optimization: int8 in float.

The same graph serves post-training quantization (calibrated ranges, no step) and
quantization-aware training (the same ranges, more steps). Activations that TFLite ties to one
scale share one range (`converters.graph.scales.scale_groups`), so that the converter has
nothing to requantize; weights have one range per output channel, computed from the current
weights.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from converters.graph.emitted_layers import EdgeFactor, WindowAverage, changed, register
from converters.graph.emitter import emit
from converters.graph.operations import Graph
from converters.graph.operator import Op, free_name
from converters.graph.scales import FIXED_RANGES, SAME_SCALE, scale_groups
from converters.quantization.tfmot_internals import AnnotatedAlone

Range = tuple[float, float]

# The attribute of the weights and its axis of output channels, by kind of operator. TFLite needs
# one scale for a whole fully connected layer.
_WEIGHTS = {
    "conv": ("kernel", 3),
    "depthwise": ("depthwise_kernel", 2),
    # The converter cannot move one scale per channel through this operator's transposition.
    "conv_transpose": ("kernel", None),
    "dense": ("kernel", None),
}
# Factors at edges are products of two of 1, 3/2 and 3, so all are multiples of this, at most 36.
FACTOR_STEP = 1 / 4
# Bytes of a constant: from here on TFLiteConverter computes nothing from it.
CONVERTER_COMPUTES = 2**27
# Weights that are all zero need a range, too.
SMALLEST_WEIGHT = 1e-6


@register
class WeightQuantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """Symmetric 8-bit fake quantization of weights, with ranges that follow the weights.

    Args:
      axis: the axis of the output channels (3: convolutions, 2: depthwise), or None for one range.

    Attributes:
      constant: whether ranges are constants of the traced graph: `constant_ranges` sets it.
    """

    def __init__(self, axis: int | None):
        self.axis = axis
        self.constant = False

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict:
        """Creates no state."""
        return {}

    def __call__(self, inputs: tf.Tensor, training: Any, weights: Any, **kwargs: Any) -> tf.Tensor:
        """Returns `inputs` rounded to 255 steps between -max|w| and max|w|."""
        if self.axis is None:
            limit = self._limit(inputs, None)
            return tf.quantization.fake_quant_with_min_max_vars(
                inputs, -limit, limit, narrow_range=True
            )
        if self.axis == 2 and inputs.shape[3] > 1:
            # Several outputs of each input channel: both axes together are the output channels.
            flat = tf.reshape(inputs, (*inputs.shape[:2], -1))[..., tf.newaxis, :]
            return tf.reshape(WeightQuantizer(3)(flat, training, weights), inputs.shape)
        # The operator needs the channels last; in depthwise kernels they are before the 1.
        order = [0, 1, 3, 2] if self.axis == 2 else [0, 1, 2, 3]
        limit = self._limit(inputs, sorted(order[:3]))
        w = tf.transpose(inputs, order)
        w = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            w, -limit, limit, narrow_range=True
        )
        return tf.transpose(w, order)

    def _limit(self, weights: tf.Tensor, axes: list[int] | None) -> tf.Tensor:
        if not self.constant:
            return _limit(weights, axes)
        with tf.init_scope():
            known = _limit(weights, axes).numpy()
        return tf.constant(known)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"axis": self.axis}


def constant_ranges(model: tf_keras.Model) -> AbstractContextManager[None]:
    """Makes the ranges of very large weights constants while the model is traced for a conversion.

    The converter computes nothing from constants of 128 MiB and more, such as VGG16's first dense
    layer, and without ranges it cannot make their weights int8.
    """
    large = [
        quantizer
        for layer in model.layers
        for weight, quantizer, _ in getattr(layer, "_weight_vars", ())
        if isinstance(quantizer, WeightQuantizer)
        and 4 * weight.shape.num_elements() >= CONVERTER_COMPUTES
    ]
    return changed("constant", dict.fromkeys(large, True))


def _limit(w: tf.Tensor, axes: list[int] | None) -> tf.Tensor:
    return tf.stop_gradient(tf.maximum(tf.reduce_max(tf.abs(w), axes), SMALLEST_WEIGHT))


@register
class WeightConfig(tfmot.quantization.keras.QuantizeConfig):
    """Makes tfmot quantize a layer's weights, and nothing else in it."""

    def __init__(self, weight: str, axis: int | None):
        self.weight = weight
        self.axis = axis

    def get_weights_and_quantizers(self, layer: Any) -> list:
        """Returns the weight and its quantizer."""
        return [(getattr(layer, self.weight), WeightQuantizer(self.axis))]

    def set_quantize_weights(self, layer: Any, quantize_weights: list) -> None:
        """Puts the fake-quantized weight into the layer."""
        setattr(layer, self.weight, quantize_weights[0])

    def get_activations_and_quantizers(self, layer: Any) -> list:
        """Returns nothing: ranges are layers of the graph."""
        return []

    # Called by a function that TensorFlow rewrites, and it cannot rewrite an empty one.
    @tf.autograph.experimental.do_not_convert
    def set_quantize_activations(self, layer: Any, quantize_activations: list) -> None:
        """Does nothing."""

    def get_output_quantizers(self, layer: Any) -> list:
        """Returns nothing: ranges are layers of the graph."""
        return []

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"weight": self.weight, "axis": self.axis}


@register
class QuantizedWindowAverage(WindowAverage):
    """A `WindowAverage` with int8 weights, without an error: all are the maximum of their range."""

    def kernel(self, channels: int) -> tf.Tensor:
        """Returns the weights (3, 3, channels, 1)."""
        return WeightQuantizer(2)(super().kernel(channels), False, None)


@register
class QuantizedEdgeFactor(EdgeFactor):
    """An `EdgeFactor` in int8, without an error."""

    def factors(self) -> tf.Tensor:
        """Returns the products of the factors, (1, height, width, 1)."""
        limit = 127 * FACTOR_STEP
        return tf.quantization.fake_quant_with_min_max_args(
            super().factors(), -limit, limit, narrow_range=True
        )


@register
class SharedRange(tf_keras.layers.Layer):
    """Fake-quantizes every tensor that shares one int8 scale; its range does not train."""

    def __init__(self, low: float, high: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.low = low
        self.high = high

    def build(self, input_shape: Any) -> None:
        """Creates the range as two variables, so that checkpoints contain it."""
        constant = tf_keras.initializers.Constant
        self.minimum = self.add_weight("minimum", (), None, constant(self.low), trainable=False)
        self.maximum = self.add_weight("maximum", (), None, constant(self.high), trainable=False)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `inputs` rounded to the 256 steps of the range."""
        return tf.quantization.fake_quant_with_min_max_vars(inputs, self.minimum, self.maximum)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "low": self.low, "high": self.high}


@register
class OutputRange(SharedRange):
    """The range of probabilities that the network returns: they are not rounded in training.

    The logarithm of one that is rounded to 0 has no gradient, so such images would teach nothing.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns `inputs`, in inference rounded to the 256 steps of the range."""
        return inputs if training else super().call(inputs)


# The layer with int8 weights for each kind of operator with constant weights.
_QUANTIZED_LAYERS = {
    "window_average": QuantizedWindowAverage,
    "edge_factor": QuantizedEdgeFactor,
}


def quantize_constants(op: Op, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    """Returns an operator's layer, with its constant weights in int8 if it has any."""
    quantized = _QUANTIZED_LAYERS.get(op.kind)
    return quantized.from_config(layer.get_config()) if quantized else layer


def scale_ranges(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Returns (minimum, maximum) of every int8 scale of a graph, by its name.

    Of a scale that several operators share, the first that computes decides: its range is
    TFLite's, if that is fixed, else the calibrated one.

    Raises:
      KeyError: a range is missing.
    """
    groups = scale_groups(graph)
    found: dict[str, Range] = {}
    for op in graph.ops.values():
        name = groups[op.name]
        if not (SAME_SCALE[op.kind] or op.is_float or name in found):
            found[name] = FIXED_RANGES.get(op.kind) or ranges[name]
    return found


def range_layer_name(graph: Graph, scale: str) -> str:
    """Returns the name of the layer that rounds to an int8 scale of the graph's."""
    return free_name(f"{scale}_range", graph.ops)


def fake_quant_model(graph: Graph, ranges: Mapping[str, Range]) -> tf_keras.Model:
    """Returns the graph with its weights and activations fake-quantized to int8.

    Args:
      graph: the deployment graph.
      ranges: (minimum, maximum) of every shared range by name, as calibration returns them; each
        contains zero.

    Returns:
      A tf_keras model that can be trained, saves its weights exactly and converts to full int8.

    Raises:
      KeyError: a range is missing.

    Examples:
      >>> model = fake_quant_model(graph, calibrate(graph, images))
    """
    groups, limits = scale_groups(graph), scale_ranges(graph, ranges)
    layers: dict[str, SharedRange] = {}

    def annotate(op: Op, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if op.is_float:
            return layer
        if op.kind not in _WEIGHTS:
            return quantize_constants(op, layer)
        weight, axis = _WEIGHTS[op.kind]
        config = WeightConfig(weight, None if op.per_tensor else axis)
        return tfmot.quantization.keras.quantize_annotate_layer(layer, config)

    def quantize(op: Op, x: Any) -> Any:
        if SAME_SCALE[op.kind] or op.is_float:
            return x
        name = groups[op.name]
        if name not in layers:
            probabilities = op.kind in FIXED_RANGES and op.name in graph.outputs
            layer = OutputRange if probabilities else SharedRange
            layers[name] = layer(*limits[name], name=range_layer_name(graph, name))
        return layers[name](x)

    annotated = emit(graph, annotate, quantize)
    if all(op.weights is None or op.is_float for op in graph.ops.values()):
        return annotated  # There is no layer to wrap, which tfmot takes for a mistake.
    with tfmot.quantization.keras.quantize_scope():
        return tfmot.quantization.keras.quantize_apply(annotated, scheme=AnnotatedAlone())
