"""Fake quantization that can be switched on and off for every part, operator by operator.

`converters.quantization.fake_quantization` returns a model in which everything is quantized. The
reports need more: only some weights or tensors quantized, every tensor in between, and every
operator with given inputs.
"""

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np
import tensorflow as tf
import tf_keras

from converters.graph.emitter import ACTIVATIONS, SEPARATE_ACTIVATION, emit
from converters.graph.operations import Graph
from converters.graph.operator import Folded, Op
from converters.graph.scales import SAME_SCALE, scale_groups
from converters.quantization.fake_quantization import (
    Range,
    WeightQuantizer,
    quantize_constants,
    range_layer_name,
)


class Simulation:
    """Runs a fake-quantized deployment graph with some or all of it quantized.

    Args:
      graph: the deployment graph.
      model: its `fake_quant_model`, trained or not; its weights and ranges are used.

    Attributes:
      graph: the graph, with the model's weights.
      weights: names of the operators that have weights, in the order of execution.
      activations: names of the operators whose output is quantized, in the order of execution.
      range_names: the shared range's name, by the name of such an operator.
      ranges: (minimum, maximum) by the shared range's name.

    Examples:
      >>> simulation = Simulation(graph, fake_quant_model(graph, ranges))
      >>> float_logits = simulation.output(images, weights=(), activations=())
    """

    def __init__(self, graph: Graph, model: tf_keras.Model):
        self.graph = _with_weights_of(model, graph)
        ops = self.graph.ops.values()
        self.weights = tuple(op.name for op in ops if op.weights is not None and op.shares is None)
        self.activations = tuple(op.name for op in ops if not SAME_SCALE[op.kind])
        groups = scale_groups(graph)
        self.range_names = {name: groups[name] for name in self.activations}
        self.ranges = {
            name: _range(model, range_layer_name(graph, name)) for name in self.range_names.values()
        }
        # Factors of 3/2 produce exact ties, which the last bit of a constant decides.
        self._model = emit(self.graph, quantize_constants)
        self._kernels = {name: self._both_kernels(model, name) for name in self.weights}
        self._quantized_weights: set[str] = set()
        self._walk_once = tf.function(self._walk, autograph=False)
        self._output_once = tf.function(
            lambda image, switches: self._walk(image, switches, {})[1][graph.output],
            autograph=False,
        )

    def output(
        self,
        images: np.ndarray,
        weights: Collection[str] | None = None,
        activations: Collection[str] | None = None,
    ) -> np.ndarray:
        """Returns the network's float32 output, [n, classes].

        Args:
          images: preprocessed float32 images [n, height, width, channels].
          weights: names of the operators whose weights are quantized; all by default.
          activations: names of the operators whose output is quantized; all by default.
        """
        switches = self._switch(weights, activations)
        return self._output_once(tf.constant(images), switches).numpy()

    def run(
        self,
        images: np.ndarray,
        weights: Collection[str] | None = None,
        activations: Collection[str] | None = None,
        given: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Runs every operator.

        Args:
          images, weights, activations: as for `output`.
          given: float32 outputs by operator, which its consumers get instead of the computed ones.

        Returns:
          Every operator's float32 output by its name, before rounding and rounded.
        """
        switches = self._switch(weights, activations)
        constants = {name: tf.constant(tensor) for name, tensor in (given or {}).items()}
        exact, rounded = (
            {name: tensor.numpy() for name, tensor in tensors.items()}
            for tensors in self._walk_once(tf.constant(images), switches, constants)
        )
        return exact, rounded

    def round(self, name: str, tensor: np.ndarray) -> np.ndarray:
        """Returns an operator's float32 output rounded to its range."""
        return _fake_quant(tf.constant(tensor), self.ranges[self.range_names[name]]).numpy()

    def weight_signal(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns an operator's kernel as trained and as quantized."""
        return self._kernels[name]

    def _walk(
        self, image: tf.Tensor, switches: tf.Tensor, given: Mapping[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        exact: dict[str, tf.Tensor] = {}
        rounded: dict[str, tf.Tensor] = {}
        for op in self.graph.ops.values():
            if op.kind == "input":
                x = image
            else:
                x = self._apply(op, [given.get(name, rounded[name]) for name in op.inputs])
            exact[op.name] = x
            rounded[op.name] = self._round(op, x, switches)
        return exact, rounded

    def _apply(self, op: Op, inputs: list[tf.Tensor]) -> tf.Tensor:
        x = self._model.get_layer(op.shares or op.name)(inputs if len(inputs) > 1 else inputs[0])
        separate = op.kind in SEPARATE_ACTIVATION and op.activation
        return ACTIVATIONS[op.activation]()(x) if separate else x

    def _round(self, op: Op, x: tf.Tensor, switches: tf.Tensor) -> tf.Tensor:
        if SAME_SCALE[op.kind]:
            return x
        rounded = _fake_quant(x, self.ranges[self.range_names[op.name]])
        return tf.where(switches[self.activations.index(op.name)], rounded, x)

    def _switch(
        self, weights: Collection[str] | None, activations: Collection[str] | None
    ) -> tf.Tensor:
        wanted = set(self.weights if weights is None else weights)
        for name in wanted ^ self._quantized_weights:
            layer = self._model.get_layer(name)
            kernel = self._kernels[name][name in wanted]
            layer.set_weights([kernel, self.graph.ops[name].weights.bias])
        self._quantized_weights = wanted
        chosen = set(self.activations if activations is None else activations)
        return tf.constant([name in chosen for name in self.activations])

    def _both_kernels(self, model: tf_keras.Model, name: str) -> tuple[np.ndarray, np.ndarray]:
        kernel = self.graph.ops[name].weights.kernel
        quantizer = WeightQuantizer(model.get_layer(f"quant_{name}").quantize_config.axis)
        return kernel, quantizer(tf.constant(kernel), False, None).numpy()


def _fake_quant(x: tf.Tensor, limits: Range) -> tf.Tensor:
    return tf.quantization.fake_quant_with_min_max_vars(x, *limits)


def _with_weights_of(model: tf_keras.Model, graph: Graph) -> Graph:
    """Returns the graph with the model's weights, which training may have changed."""
    ops = {}
    for op in graph.ops.values():
        if op.weights is not None:
            wrapper = model.get_layer(f"quant_{op.shares or op.name}")
            values = {_plain_name(variable): variable.numpy() for variable in wrapper.weights}
            kernel = values[wrapper.quantize_config.weight]
            op = dataclasses.replace(op, weights=Folded(kernel, values["bias"]))
        ops[op.name] = op
    return Graph(ops, graph.outputs)


def _plain_name(variable: tf.Variable) -> str:
    return variable.name.split("/")[-1].split(":")[0]


def _range(model: tf_keras.Model, name: str) -> Range:
    layer = model.get_layer(name)
    return float(layer.minimum), float(layer.maximum)
