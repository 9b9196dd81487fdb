"""All that is used of Keras's private interface; a test says so when a new version changes it.

Keras promises none of it. Whatever needs a name of Keras's with an underscore gets it from here.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras.src.models.functional import Functional
from keras.src.ops import nn, numpy

# The classes of what `keras.ops` adds to a functional model, and `x + 1`, by what they compute.
ACTIVATION_OPERATIONS = {
    nn.Elu: "elu",
    nn.Gelu: "gelu",
    nn.HardSigmoid: "hard_sigmoid",
    nn.HardSilu: "hard_swish",
    nn.LeakyRelu: "leaky_relu",
    nn.Relu: "relu",
    nn.Relu6: "relu6",
    nn.Sigmoid: "sigmoid",
    nn.Silu: "silu",
    nn.Softmax: "softmax",
    numpy.Tanh: "tanh",
}
ARITHMETIC_OPERATIONS = {
    numpy.Add: "add",
    numpy.Divide: "divide",
    numpy.Maximum: "maximum",
    numpy.Minimum: "minimum",
    numpy.Multiply: "multiply",
    numpy.Subtract: "subtract",
    numpy.TrueDivide: "divide",
}
CONCATENATE_OPERATIONS = (numpy.Concatenate,)


class CallNode(NamedTuple):
    """One call of a layer, or of an operation, in a functional model.

    Attributes:
      operation: the layer.
      inputs: the symbolic tensors that it takes; of a model, in the order of its inputs.
      outputs: the symbolic tensors that it makes.
      arguments: all that it is called with, in order, constants too.
    """

    operation: Any
    inputs: list
    outputs: list
    arguments: tuple


def functional(layer: Any) -> keras.Model | None:
    """Returns the graph of layers that a functional or Sequential model is, or None."""
    if isinstance(layer, keras.Sequential):
        return layer._functional
    if isinstance(layer, Functional) and type(layer).call is Functional.call:
        return layer
    return None


def call_nodes(model: keras.Model) -> list[CallNode]:
    """Returns a functional model's calls in an order in which they can be computed."""
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [
        CallNode(node.operation, _inputs(node), node.outputs, tuple(node.arguments.args))
        for node in nodes
        if not node.is_input
    ]


def _inputs(node: Any) -> list:
    """Returns what a call takes: a model that is called with a dict picks its inputs by name."""
    model = functional(node.operation)
    given = next(iter((*node.arguments.args, *node.arguments.kwargs.values())), None)
    if model is None or not isinstance(given, dict) or isinstance(model._inputs_struct, dict):
        return node.input_tensors
    return [given[tensor.name] for tensor in model.inputs]


def flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns a model's layers and those inside of layers, where the units keep theirs."""
    # `model.layers` stops at the first level.
    return list(model._flatten_layers())


def producer(tensor: keras.KerasTensor) -> tuple[Any, list[keras.KerasTensor]]:
    """Returns the layer or operation that a symbolic tensor comes from, and what it was called on.

    A layer's `input` is another tensor if it is a model: the one that it was built with.
    """
    operation, node, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors


class OptimizerHooks:
    """What Keras's optimizers have no public hook for; comes before the optimizer in the bases.

    Examples:
      >>> class SGD(OptimizerHooks, keras.optimizers.SGD):
      ...     def sums_gradients(self):
      ...         return False
    """

    def sums_gradients(self) -> bool:
        """Whether gradients are summed over the devices before a step, as TensorFlow's are."""
        return True

    def variable_index(self, variable: Any) -> int:
        """Returns the place of a variable among those that the optimizer was built for."""
        return self._get_variable_index(variable)

    def moments_of(self, variable: Any) -> tuple[Any, Any]:
        """Returns Adam's moving averages of a variable's gradient, and of its square."""
        index = self.variable_index(variable)
        return self._momentums[index], self._velocities[index]

    def _all_reduce_sum_gradients(self, grads_and_vars: Sequence[tuple]) -> Sequence[tuple]:
        if self.sums_gradients():
            return super()._all_reduce_sum_gradients(grads_and_vars)
        return grads_and_vars


class LossScaleHooks:
    """As `OptimizerHooks`, for a `keras.optimizers.LossScaleOptimizer`."""

    def after_overflow(self) -> None:
        """Called after a batch whose gradients are not finite, in place of a step."""

    def _stateful_handle_non_finite_grads(self) -> None:
        super()._stateful_handle_non_finite_grads()
        self.after_overflow()
