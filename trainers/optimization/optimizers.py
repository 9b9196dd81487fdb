"""The optimizer of a training: SGD or Muon, with loss scaling where float16 needs it."""

import keras
import tensorflow as tf

from keras_shufflenet.keras_internals import LossScaleHooks, OptimizerHooks
from trainers.constants import shared
from trainers.settings import OptimizationConfig

_MOMENTUM = 0.9
# Muon's part of the learning rate, so that one schedule serves it and SGD's variables: with the
# usual rates a new network's kernels turn by a few percent a step.
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
    kind = Muon if config.optimizer == "muon" else SGD
    optimizer = kind(
        rate,
        config.weight_decay,
        config.bias_rate,
        momentum=_MOMENTUM,
        nesterov=config.nesterov,
    )
    return ScaledOptimizer(optimizer) if config.precision == "mixed_float16" else optimizer


class SGD(OptimizerHooks, keras.optimizers.SGD):
    """Keras's SGD with momentum and an L2 penalty, in one operator for each variable.

    Keras's own step takes ten, a twentieth of the time of a small network's step on a CPU. The
    penalty goes through the momentum, unlike Keras's `weight_decay`, and only what has more than
    one dimension decays: kernels, not biases and batch norms (the papers' code does so).

    Args:
      learning_rate, momentum, nesterov: as of `keras.optimizers.SGD`; the momentum is above 0.
      decay: share of a kernel that is added to its gradient.
      bias_rate: what the learning rate of biases and of BatchNorm's offsets is multiplied by. They
        are few, and a step of theirs as long as a kernel's takes long to get anywhere (Jordan,
        2024, https://arxiv.org/abs/2404.00498, section 3.4).

    Examples:
      >>> optimizer = SGD(0.1, decay=5e-4, momentum=0.9, nesterov=True)
    """

    def __init__(self, learning_rate, decay: float = 0.0, bias_rate: float = 1.0, **settings):
        super().__init__(learning_rate, **settings)
        self.decay, self.bias_rate = decay, bias_rate
        self._shares: list[float] = []

    def build(self, variables):
        """Makes the state for variables; see the base class."""
        super().build(variables)
        # Here they have Keras's names; a step gets copies of theirs.
        self._shares = [self.bias_rate if v.name in _BIASES else 1.0 for v in variables]

    def sums_gradients(self):
        """Whether there are other devices; see the base class."""
        # One device has no other's gradients to add, only an operator for each of its own.
        return tf.distribute.get_strategy().num_replicas_in_sync > 1

    def update_step(self, gradient, variable, learning_rate):
        """Changes one variable; see the base class."""
        gradient = tf.cast(gradient, variable.dtype)
        share = self._shares[self.variable_index(variable)]
        # Only where it changes something, for the sake of the graph's size.
        if share != 1:
            learning_rate = shared(share, learning_rate.dtype) * learning_rate
        if self.decay and len(variable.shape) > 1:
            gradient += shared(self.decay, variable.dtype) * variable
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self.variable_index(variable)].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=gradient,
            momentum=shared(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


class Muon(SGD):
    """SGD that takes orthogonal steps with the kernels of 1x1 convolutions.

    Such a kernel is a matrix, and its momentum is replaced by the nearest one whose singular values
    are all about 1: directions that few images ask for are learnt as fast as the others (Jordan et
    al., 2024, https://kellerjordan.github.io/posts/muon). A grouped kernel counts as one matrix.
    All other variables get SGD's step. `keras.optimizers.Muon` does so for dense layers alone, and
    gives the kernels of convolutions to Adam.

    The kernels decay beside the step, as fast as SGD's do. In their gradient, as SGD has it, the
    decay would turn the step; without it they grow, and turn ever more slowly.

    Args:
      learning_rate, decay, bias_rate, momentum, nesterov: as of `SGD`.

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


# Traced once for each shape, of which a network has few; not inlined, so that it is also optimized
# once for each, and not for each kernel.
@tf.function(autograph=False, experimental_attributes={"_noinline": True})
def _muon_step(
    gradient: tf.Tensor,
    momentum: tf.Tensor,
    kernel: tf.Tensor,
    kept: float,
    decay: float,
    nesterov: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the next momentum, and what the kernel changes by at a learning rate of -1.

    Args:
      gradient, momentum, kernel: [1, 1, inputs, outputs].
      kept: share of the momentum that stays.
      decay: as of `SGD`.
      nesterov: look ahead.
    """
    momentum = kept * momentum + gradient
    ahead = kept * momentum + gradient if nesterov else momentum
    *_, inputs, outputs = kernel.shape
    step = orthogonalized(tf.reshape(ahead, [inputs, outputs]))
    # Each output's kernel changes by the same length, however many outputs there are.
    step *= _MUON_SHARE * max(1.0, outputs / inputs) ** 0.5
    # SGD's momentum adds 1 / (1 - momentum) steps of its decay up.
    return momentum, tf.reshape(step, kernel.shape) + decay / (1 - kept) * kernel


def orthogonalized(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the matrix with singular values of about 1, between 0.7 and 1.2.

    Those below 0.002 of the matrix's norm stay smaller. Muon's Newton-Schulz iteration, with the
    authors' coefficients: they converge fast and not exactly, which is enough. It runs on the
    products of the shorter side's vectors, and the matrix is multiplied once at the end: of a wide
    kernel that takes less than half of the time.

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
        # Factors are polynomials of the first `gram`, so that the order does not matter.
        gram = tf.matmul(factor, tf.matmul(factor, gram))
    return tf.matmul(x, total) if tall else tf.matmul(total, x)


class ScaledOptimizer(LossScaleHooks, keras.optimizers.LossScaleOptimizer):
    """Keras's dynamic loss scaling, for which every batch is a step.

    A batch whose gradients overflow changes no weights and halves the scale. Keras's own does not
    count it, but the training's step says which images are used up.
    """

    def after_overflow(self):
        """Counts the batch; see the base class."""
        self.inner_optimizer.iterations.assign_add(1)

    def apply(self, grads, trainable_variables=None):
        """Applies scaled gradients; see the base class."""
        # Keras asks the first device alone whether its gradients are finite.
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(grad)) for grad in grads])
        replicas = tf.distribute.get_replica_context()
        failed = replicas.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(~finite, tf.float32))
        poison = tf.where(failed > 0, float("nan"), 1.0)
        super().apply([grad * tf.cast(poison, grad.dtype) for grad in grads], trainable_variables)
