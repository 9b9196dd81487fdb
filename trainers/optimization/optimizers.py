"""The optimizer of a training: SGD, Muon or AdamW, with loss scaling for float16."""

import keras
import tensorflow as tf

from keras_shufflenet.keras_internals import LossScaleHooks, OptimizerHooks
from trainers.settings import OptimizationConfig
from trainers.training_graph.constants import shared

_MOMENTUM = 0.9
# Muon's share of the learning rate, so that Muon and SGD can use one schedule: with the usual rates
# the kernels of a new network change direction by a few percent per step.
_MUON_SHARE = 0.1
_NEWTON_SCHULZ_STEPS = 5
_TINY = 1e-7
_BIASES = ("beta", "bias")


def make_optimizer(
    config: OptimizationConfig, rate: keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """Returns the optimizer, not yet built; call it in the strategy's scope.

    Args:
      config: optimizer, nesterov, weight_decay, bias_rate and precision matter.
      rate: learning rate by step.
    """
    settings = (rate, config.weight_decay, config.bias_rate)
    if config.optimizer == "adamw":
        optimizer = AdamW(*settings)
    else:
        kind = Muon if config.optimizer == "muon" else SGD
        optimizer = kind(*settings, momentum=_MOMENTUM, nesterov=config.nesterov)
    return ScaledOptimizer(optimizer) if config.precision == "mixed_float16" else optimizer


class _OneOperator(OptimizerHooks):
    """For optimizers whose step is one operator for each variable; comes before Keras's class.

    Keras's own steps need ten, which take a twentieth of a small network's step on a CPU. Only
    variables with more than one dimension decay: kernels, but not biases and batch norms (as in the
    papers' code).

    Args:
      learning_rate: as in Keras's optimizers.
      decay: of the kernels; see the class.
      bias_rate: factor for the learning rate of biases and of BatchNorm's offsets. With a kernel's
        learning rate these few values would change slowly (Jordan, 2024,
        https://arxiv.org/abs/2404.00498, section 3.4).
      **settings: of Keras's class.
    """

    def __init__(self, learning_rate, decay: float = 0.0, bias_rate: float = 1.0, **settings):
        super().__init__(learning_rate, **settings)
        self.decay, self.bias_rate = decay, bias_rate
        self._shares: list[float] = []

    def build(self, variables):
        """Creates the state for variables; see the base class."""
        super().build(variables)
        # Read here, because only here the variables have Keras's names; a step gets copies.
        self._shares = [self.bias_rate if v.name in _BIASES else 1.0 for v in variables]

    def sums_gradients(self):
        """Returns whether there are other devices; see the base class."""
        # With one device there is nothing to add, but each gradient would get an operator for it.
        return tf.distribute.get_strategy().num_replicas_in_sync > 1

    def rate_of(self, variable, learning_rate):
        """Returns a variable's own learning rate, in its type."""
        learning_rate = tf.cast(learning_rate, variable.dtype)
        share = self._shares[self.variable_index(variable)]
        # Only if it changes something, to keep the graph small.
        return learning_rate if share == 1 else shared(share, variable.dtype) * learning_rate

    def decays(self, variable) -> bool:
        """Returns whether a variable decays."""
        return bool(self.decay) and len(variable.shape) > 1


class SGD(_OneOperator, keras.optimizers.SGD):
    """Keras's SGD with momentum and an L2 penalty.

    Unlike Keras's `weight_decay`, the penalty is included in the momentum.

    Args:
      learning_rate, momentum, nesterov: as in `keras.optimizers.SGD`; the momentum is above 0.
      decay: share of a kernel that is added to its gradient.
      bias_rate: see the base class.

    Examples:
      >>> optimizer = SGD(0.1, decay=5e-4, momentum=0.9, nesterov=True)
    """

    def update_step(self, gradient, variable, learning_rate):
        """Changes one variable; see the base class."""
        gradient = tf.cast(gradient, variable.dtype)
        rate = self.rate_of(variable, learning_rate)
        if self.decays(variable):
            gradient += shared(self.decay, variable.dtype) * variable
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self.variable_index(variable)].value.handle,
            lr=rate,
            grad=gradient,
            momentum=shared(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


class AdamW(_OneOperator, keras.optimizers.Adam):
    """Keras's Adam with decay that is separate from the step (Loshchilov and Hutter, 2019,
    https://arxiv.org/abs/1711.05101, algorithm 2).

    Args:
      learning_rate, beta_1, beta_2, epsilon: as in `keras.optimizers.Adam`.
      decay: share of a kernel that it loses at a learning rate of 1.
      bias_rate: see the base class.

    Examples:
      >>> optimizer = AdamW(2e-3, decay=0.02)
    """

    def update_step(self, gradient, variable, learning_rate):
        """Changes one variable; see the base class."""
        dtype, (mean, square) = variable.dtype, self.moments_of(variable)
        rate = self.rate_of(variable, learning_rate)
        first, second = (shared(beta, dtype) for beta in (self.beta_1, self.beta_2))
        step = tf.cast(self.iterations.value, dtype) + shared(1, dtype)
        if self.decays(variable):
            variable.assign_sub(shared(self.decay, dtype) * rate * variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=mean.value.handle,
            v=square.value.handle,
            beta1_power=first**step,
            beta2_power=second**step,
            lr=rate,
            beta1=first,
            beta2=second,
            epsilon=shared(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


class Muon(SGD):
    """SGD with orthogonal steps for the kernels of 1x1 convolutions.

    Such a kernel is a matrix. Its momentum is replaced by the nearest matrix whose singular values
    are all about 1, so that directions from few images are learnt as fast as the others (Jordan et
    al., 2024, https://kellerjordan.github.io/posts/muon). A grouped kernel is treated as one
    matrix. All other variables get SGD's step. `keras.optimizers.Muon` does this only for dense
    layers, and uses Adam for the kernels of convolutions.

    The kernels decay separately from the step, as fast as with SGD. In the gradient, as in SGD, the
    decay would change the step's direction. Without decay the kernels would grow, and their
    direction would change more and more slowly.

    Args:
      learning_rate, decay, bias_rate, momentum, nesterov: as in `SGD`.

    Examples:
      >>> optimizer = Muon(0.1, decay=5e-4, momentum=0.9, nesterov=True)
    """

    def update_step(self, gradient, variable, learning_rate):
        """Changes one variable; see the base class."""
        # The kernel of a 1x1 convolution: [1, 1, inputs, outputs].
        if len(variable.shape) != 4 or tuple(variable.shape[:2]) != (1, 1):
            super().update_step(gradient, variable, learning_rate)
            return
        momentum = self.momentums[self.variable_index(variable)].value
        settings = (self.momentum, self.decay, self.nesterov)
        after, step = _muon_step(gradient, momentum.value(), variable.value(), *settings)
        momentum.assign(after)
        variable.assign_sub(tf.cast(learning_rate, step.dtype) * step)


# Traced once for each shape, and a network has few shapes. Not inlined, so that it is also
# optimized once for each shape instead of once for each kernel.
@tf.function(autograph=False, experimental_attributes={"_noinline": True})
def _muon_step(
    gradient: tf.Tensor,
    momentum: tf.Tensor,
    kernel: tf.Tensor,
    kept: float,
    decay: float,
    nesterov: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the next momentum, and the change of the kernel at a learning rate of -1.

    Args:
      gradient, momentum, kernel: [1, 1, inputs, outputs].
      kept: share of the momentum that is kept.
      decay: as in `SGD`.
      nesterov: look ahead.
    """
    momentum = kept * momentum + gradient
    ahead = kept * momentum + gradient if nesterov else momentum
    *_, inputs, outputs = kernel.shape
    step = orthogonalized(tf.reshape(ahead, [inputs, outputs]))
    # The kernel of each output changes by the same length with any number of outputs.
    step *= _MUON_SHARE * max(1.0, outputs / inputs) ** 0.5
    # SGD's momentum adds up the decay of 1 / (1 - momentum) steps.
    return momentum, tf.reshape(step, kernel.shape) + decay / (1 - kept) * kernel


def orthogonalized(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the matrix with singular values of about 1, between 0.7 and 1.2.

    Values below 0.002 of the matrix's norm stay smaller. This is Muon's Newton-Schulz iteration
    with the authors' coefficients, which converge fast but not exactly; that is enough. It iterates
    on the products of the shorter side's vectors and multiplies the matrix once at the end, which
    takes less than half the time for a wide kernel.

    Args:
      matrix: float32 [rows, columns].
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix / (tf.norm(matrix) + _TINY)
    gram = tf.matmul(x, x, transpose_a=tall, transpose_b=not tall)
    one = tf.eye(gram.shape[0], dtype=matrix.dtype)
    total = None
    for _ in range(_NEWTON_SCHULZ_STEPS):
        factor = 3.4445 * one - 4.7750 * gram + 2.0315 * tf.matmul(gram, gram)
        total = factor if total is None else tf.matmul(factor, total)
        # All factors are polynomials of the first `gram`, so their order does not matter.
        gram = tf.matmul(factor, tf.matmul(factor, gram))
    return tf.matmul(x, total) if tall else tf.matmul(total, x)


class ScaledOptimizer(LossScaleHooks, keras.optimizers.LossScaleOptimizer):
    """Keras's dynamic loss scaling, but with every batch counted as a step.

    A batch whose gradients overflow changes no weights and halves the scale. Keras's class does not
    count it, but the step of a training must count all the images used.
    """

    def after_overflow(self):
        """Counts the batch; see the base class."""
        self.inner_optimizer.iterations.assign_add(1)

    def apply(self, grads, trainable_variables=None):
        """Applies scaled gradients; see the base class."""
        # Keras checks only the first device's gradients for non-finite values.
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(grad)) for grad in grads])
        replicas = tf.distribute.get_replica_context()
        failed = replicas.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(~finite, tf.float32))
        poison = tf.where(failed > 0, float("nan"), 1.0)
        super().apply([grad * tf.cast(poison, grad.dtype) for grad in grads], trainable_variables)
