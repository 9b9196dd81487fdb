"""Constants that the operators of a graph share.

TensorFlow makes an operator for every number that Python code mentions. They were a quarter of a
training step's, and each takes its time to be traced and optimized.
"""

from collections.abc import Hashable

import tensorflow as tf

_ATTRIBUTE = "_keras_shufflenet_constants"


def shared(value: Hashable, dtype: tf.DType) -> tf.Tensor:
    """Returns a constant: in the graph that is being traced, the same one for the same value.

    Args:
      value: a number, or a tuple of them.
      dtype: of the constant.

    Examples:
      >>> scaled = shared(0.5, tensor.dtype) * tensor
    """
    replica = tf.distribute.get_replica_context()
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    # Each device has its own: for another's it would have to wait. Outside of the replicas nobody
    # knows which device it is.
    if tf.executing_eagerly() or (several and replica is None):
        return tf.constant(value, dtype)
    graph = tf.compat.v1.get_default_graph()
    if not hasattr(graph, _ATTRIBUTE):
        setattr(graph, _ATTRIBUTE, {})
    made = getattr(graph, _ATTRIBUTE)
    key = (replica, value, dtype)
    if key not in made:
        made[key] = tf.constant(value, dtype)
    return made[key]
