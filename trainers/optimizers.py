"""The optimizer of a training: SGD, with loss scaling where float16 needs it."""

import keras
import tensorflow as tf

from trainers.config import TrainConfig

_MOMENTUM = 0.9


def make_optimizer(
    config: TrainConfig, rate: keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """Returns the optimizer, not yet built; call it in the strategy's scope.

    Args:
      config: nesterov and precision matter.
      rate: learning rate by step.
    """
    sgd = keras.optimizers.SGD(rate, momentum=_MOMENTUM, nesterov=config.nesterov)
    return ScaledOptimizer(sgd) if config.precision == "mixed_float16" else sgd


class ScaledOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras's dynamic loss scaling, for which every batch is a step.

    A batch whose gradients overflow changes no weights and halves the scale. Keras's own does not
    count it, but the training's step says which images are used up. `tests` pin the overridden
    method, which Keras keeps private.
    """

    def _stateful_handle_non_finite_grads(self):
        super()._stateful_handle_non_finite_grads()
        self.inner_optimizer.iterations.assign_add(1)

    def apply(self, grads, trainable_variables=None):
        """Applies scaled gradients; see the base class."""
        # Keras asks the first device alone whether its gradients are finite.
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(grad)) for grad in grads])
        replicas = tf.distribute.get_replica_context()
        failed = replicas.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(~finite, tf.float32))
        poison = tf.where(failed > 0, float("nan"), 1.0)
        super().apply([grad * tf.cast(poison, grad.dtype) for grad in grads], trainable_variables)


def add_weight_decay(gradients: list, variables: list, decay: float | tf.Tensor) -> list:
    """Returns the gradients with those of an L2 penalty, decay/2 times the squared weights.

    Only what has more than one dimension decays: kernels, not biases and batch norms (the
    papers' code does so). It goes through the momentum, unlike Keras's own `weight_decay`.

    Args:
      gradients, variables: in the same order.
      decay: factor of the weights.
    """
    return [
        gradient + decay * variable if len(variable.shape) > 1 else gradient
        for gradient, variable in zip(gradients, variables, strict=True)
    ]
