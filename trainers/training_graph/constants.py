"""Constants that the operators of a graph share.

TensorFlow makes an operator for every number in Python code. These were a quarter of the operators
of a training step, and tracing and optimizing each of them takes time.
"""

from collections.abc import Hashable

import tensorflow as tf

_ATTRIBUTE = "_keras_shufflenet_constants"


def shared(value: Hashable, dtype: tf.DType) -> tf.Tensor:
    """Returns a constant; while a graph is traced, equal values get the same constant.

    Args:
      value: a number, or a tuple of them.
      dtype: of the constant.

    Examples:
      >>> scaled = shared(0.5, tensor.dtype) * tensor
    """
    replica = tf.distribute.get_replica_context()
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    # Each device has its own constants, because it would have to wait for another device's. Outside
    # the replicas the device is not known.
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
