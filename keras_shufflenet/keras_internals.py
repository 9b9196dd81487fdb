"""All that is used of Keras's private interface; a test says so when a new version changes it.

Keras promises none of it. Whatever needs a name of Keras's with an underscore gets it from here.
"""

from collections.abc import Sequence
from typing import Any

import keras


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
