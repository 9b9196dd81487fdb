import numpy as np
import pytest
import tensorflow as tf

from converters.graph.emitter import GroupedPointwise


@pytest.mark.parametrize(("channels", "filters", "groups"), [(12, 6, 3), (8, 16, 8)])
def test_a_grouped_convolution_trains_as_it_infers(channels, filters, groups):
    layer = GroupedPointwise(filters, 1, groups=groups, activation="relu")
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 5, channels)), tf.float32)
    layer.build(x.shape)
    layer.bias.assign(np.linspace(-1, 1, filters))
    results = []
    for training in (False, True):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=training) ** 2)
        results.append([loss, *tape.gradient(loss, layer.trainable_variables)])
    for inferred, trained in zip(*results, strict=True):
        np.testing.assert_allclose(trained, inferred, rtol=1e-4, atol=1e-5)
