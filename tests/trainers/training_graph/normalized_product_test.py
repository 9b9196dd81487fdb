import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_shufflenet.layers import batch_norm, pointwise
from keras_shufflenet.permutations import PermutedTensor
from trainers.distribution.strategy import synchronize_batch_norms
from trainers.training_graph import normalized_product, permuted_tensors

CHANNELS, FILTERS = 16, 24


def layers(before=False, relu=True, dtype="float64", conv=None, channels=CHANNELS, largest=None):
    """Returns a convolution between batch norms, all with random weights."""
    conv = conv or pointwise(FILTERS, dtype=dtype)
    chain = [batch_norm(dtype=dtype)] * before + [conv, batch_norm(dtype=dtype)]
    chain += [keras.layers.ReLU(largest, dtype=dtype)] * relu
    model = keras.Sequential([keras.Input((6, 5, channels), dtype=dtype), *chain])
    synchronize_batch_norms(model, True)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in model.weights])
    return model


def images(channels=CHANNELS, dtype=np.float64):
    return np.random.default_rng(1).normal(2, 3, (4, 6, 5, channels)).astype(dtype)


def gradients(function, x, model):
    """Returns the output, its gradients with random weights, and the moving statistics."""
    x, start = tf.constant(x), model.get_weights()
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
        weights = np.random.default_rng(2).normal(size=y.shape)
        total = tf.reduce_sum(tf.cast(y, tf.float64) * weights)
    found = [y, *tape.gradient(total, [x, *model.trainable_variables])]
    found += [weight.value for weight in model.non_trainable_variables]
    found = [keras.ops.convert_to_numpy(value) for value in found]
    model.set_weights(start)
    return found


def product_of(model):
    return normalized_product.find(model.layers, model.input_shape[-1])


def compute(model, x):
    return normalized_product.compute(PermutedTensor(x, np.arange(x.shape[-1])), product_of(model))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
def test_it_equals_the_layers_one_after_another(before, relu, groups):
    model = layers(before, relu, conv=pointwise(FILTERS, groups, dtype="float64"))
    expected = gradients(lambda x: model(x, training=True), images(), model)
    found = gradients(lambda x: compute(model, x).tensor, images(), model)
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("filters", [256, 264, 600])
def test_the_gradient_of_a_wide_product_is_computed_in_pieces(filters):
    model = layers(conv=pointwise(filters, dtype="float64"))
    expected = gradients(lambda x: model(x, training=True), images(), model)
    found = gradients(lambda x: compute(model, x).tensor, images(), model)
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("largest", [None, 6.0])
def test_the_gradient_stops_where_the_relu_does(largest):
    model = layers(largest=largest)
    # So that values reach both ends of the ReLU.
    gamma = model.layers[1].gamma
    gamma.assign(4 * gamma)
    expected = gradients(lambda x: model(x, training=True), images(), model)
    found = gradients(lambda x: compute(model, x).tensor, images(), model)
    assert np.max(expected[0]) == 6 if largest else np.max(expected[0]) > 6
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("strides", "padding"), [(1, "same"), (2, "same"), (2, "valid")])
def test_a_small_window_is_a_product_too(strides, padding):
    conv = keras.layers.Conv2D(
        FILTERS, 3, strides, padding=padding, use_bias=False, dtype="float64"
    )
    model = layers(conv=conv, channels=3)
    expected = gradients(lambda x: model(x, training=True), images(3), model)
    found = gradients(lambda x: compute(model, x).tensor, images(3), model)
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-9)


def test_channels_have_the_requested_order():
    model, order = layers(), np.random.default_rng(3).permutation(FILTERS)
    x = PermutedTensor(tf.constant(images()), np.arange(CHANNELS))
    y = normalized_product.compute(x, product_of(model), order)
    np.testing.assert_array_equal(y.order, order)
    expected = model(images(), training=True)
    np.testing.assert_allclose(permuted_tensors.reordered(y), expected, atol=1e-9)


def test_an_image_of_one_colour_has_no_variance():
    model = layers(before=True, dtype="float32")
    x = np.full((2, 6, 5, CHANNELS), 1 / 3, np.float32)
    for value in gradients(lambda x: compute(model, x).tensor, x, model):
        assert np.all(np.isfinite(value))


@pytest.mark.parametrize(
    ("segment", "channels"),
    [
        # The covariance of 64 channels takes longer.
        ([pointwise(FILTERS), batch_norm()], 64),
        ([keras.layers.Conv2D(FILTERS, 3, use_bias=False), batch_norm()], 4),
        # The border's zeros are not normalized.
        ([batch_norm(), keras.layers.Conv2D(FILTERS, 3, use_bias=False), batch_norm()], 1),
        ([pointwise(FILTERS)], CHANNELS),
        ([batch_norm()], CHANNELS),
        ([pointwise(FILTERS), keras.layers.ReLU()], CHANNELS),
        ([keras.layers.Conv2D(FILTERS, 1), batch_norm()], CHANNELS),
        ([pointwise(FILTERS, dtype="mixed_float16"), batch_norm()], CHANNELS),
    ],
)
def test_other_layers_are_not_part_of_a_product(segment, channels):
    assert normalized_product.find(segment, channels) is None


@pytest.mark.parametrize(
    ("relu", "length"),
    [
        (keras.layers.ReLU(), 3),
        (keras.layers.ReLU(6.0), 3),
        (keras.layers.ReLU(5.0), 2),
        (keras.layers.ReLU(negative_slope=0.1), 2),
        (keras.layers.ReLU(threshold=0.1), 2),
    ],
)
def test_relus_that_are_one_operator_belong_to_the_product(relu, length):
    segment = [pointwise(FILTERS), batch_norm(), relu]
    assert normalized_product.find(segment, CHANNELS).length == length
