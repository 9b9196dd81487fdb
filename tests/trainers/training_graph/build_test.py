import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_shufflenet import ShuffleNetDetector, ShuffleNetV1, ShuffleNetV2
from trainers.distribution.strategy import batch_norms, synchronize_batch_norms
from trainers.networks.mobilenet import mobilenet_v2
from trainers.training_graph import normalized_product
from trainers.training_graph.build import training_forward

pytestmark = pytest.mark.medium

# Widths that are not multiples of 8, and stages long enough for channels that skip two units.
SMALL = {
    "input_shape": (32, 32, 3),
    "small_images": True,
    "classes": 10,
    "classifier_activation": None,
    "stem_channels": 12,
    "units_per_stage": (4, 1),
}
V2 = {"stage_channels": (20, 36), "head_channels": 30}
V1 = {"stage_channels": (36, 60)}


def mobilenet(**_):
    """keras.applications' network: it branches, and its ReLUs have a maximum of 6."""
    return mobilenet_v2(0.5, (32, 32, 3), classes=10, small_images=True)


def detector(input_shape, **_):
    """All levels share their last convolution."""
    backbone = ShuffleNetV2(
        input_shape=input_shape, stage_channels=(20, 28, 36), units_per_stage=(2, 1, 1)
    )
    model = ShuffleNetDetector(classes=6, width=20, backbone=backbone)
    return keras.Model(model.inputs, keras.layers.GlobalAveragePooling1D()(model.outputs[0]))


VARIANTS = {
    "v2": (ShuffleNetV2, V2),
    "v2 megvii": (ShuffleNetV2, {**V2, "convention": "megvii"}),
    "v2 large images": (ShuffleNetV2, {**V2, "small_images": False, "padding": "symmetric"}),
    "v2 star": (ShuffleNetV2, {**V2, "first_depthwise": True}),
    "v1": (ShuffleNetV1, V1),
    "v1 megvii, se": (ShuffleNetV1, {**V1, "convention": "megvii", "se": True, "groups": 2}),
    "v1 no shuffle": (ShuffleNetV1, {**V1, "shuffle": False, "padding": "symmetric"}),
    "mobilenet v2": (mobilenet, {}),
    "detector": (detector, {}),
}


def build(name, policy="float32"):
    """Returns a network whose batch norms have random weights."""
    network, arguments = VARIANTS[name]
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = network(**{**SMALL, **arguments})
    finally:
        keras.config.set_dtype_policy(before)
    rng = np.random.default_rng(0)
    for layer in batch_norms(model):
        layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
        layer.beta.assign(rng.normal(0, 0.3, layer.beta.shape))
    return model


def train(model, forward, steps):
    """Returns the logits of each step of SGD with momentum, and all weights after the steps."""
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(1)
    # Keras expects images in single precision, whatever precision it computes in.
    images = tf.constant(rng.uniform(-1, 1, (steps, 8, 32, 32, 3)), tf.float32)
    labels = tf.constant(rng.integers(0, 10, (steps, 8)))

    def step(images, labels):
        with tf.GradientTape() as tape:
            logits = tf.cast(forward(images), tf.float64)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return logits

    logits = [step(*batch).numpy() for batch in zip(images, labels, strict=True)]
    return np.array(logits), [weight.numpy() for weight in model.weights]


def compare(model, steps, atol):
    start = model.get_weights()
    expected, weights = train(model, lambda images: model(images, training=True), steps)
    model.set_weights(start)
    found, found_weights = train(model, training_forward(model), steps)
    np.testing.assert_allclose(found, expected, atol=atol * expected.std())
    for weight, value, wanted in zip(model.weights, found_weights, weights, strict=True):
        np.testing.assert_allclose(value, wanted, atol=atol, err_msg=weight.path)


@pytest.mark.parametrize("name", VARIANTS)
def test_training_gives_the_same_weights_and_statistics(name):
    # In double precision, so that only a mistake can make a difference; the fused operator does not
    # support it.
    model = build(name, "float64")
    synchronize_batch_norms(model, True)
    compare(model, steps=2, atol=1e-9)


@pytest.mark.parametrize("macs", [0, normalized_product._MACS_PER_CHANNEL])
@pytest.mark.parametrize("name", ["v2", "v1"])
def test_single_precision_is_as_exact_as_keras(name, macs, monkeypatch):
    # With 0, the fused operator normalizes, as in wide networks.
    monkeypatch.setattr(normalized_product, "_MACS_PER_CHANNEL", macs)
    exact, model = build(name, "float64"), build(name)
    exact.set_weights(model.get_weights())
    images = np.random.default_rng(1).uniform(-1, 1, (8, 32, 32, 3)).astype("float32")
    wanted = exact(images, training=True).numpy()
    ours = np.abs(training_forward(model)(images).numpy() - wanted).max()
    for one, other in zip(batch_norms(model), batch_norms(exact), strict=True):
        np.testing.assert_allclose(one.moving_mean, other.moving_mean, atol=1e-5)
        np.testing.assert_allclose(one.moving_variance, other.moving_variance, atol=1e-5)
    theirs = np.abs(model(images, training=True).numpy() - wanted).max()
    assert ours < 3 * theirs < 1e-3


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_as_keras_does(precision):
    model = build("v2", precision)
    images = np.random.default_rng(1).uniform(-1, 1, (8, 32, 32, 3)).astype("float32")
    found, wanted = training_forward(model)(images), model(images, training=True)
    assert found.dtype == wanted.dtype == model.compute_dtype
    exact = build("v2")
    exact.set_weights(model.get_weights())
    exact = exact(images, training=True).numpy()
    errors = [np.abs(tf.cast(y, tf.float32) - exact).max() for y in (found, wanted)]
    assert errors[0] < 2 * errors[1]


def test_no_operator_of_a_shuffle_or_a_normalization_is_left():
    forward = tf.function(training_forward(build("v2")))
    graph = forward.get_concrete_function(tf.TensorSpec((8, 32, 32, 3))).graph
    kinds = {operator.type for operator in graph.get_operations()}
    assert "MatMul" in kinds
    assert not kinds & {"Transpose", "StridedSliceGrad", "FusedBatchNormV3"}


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_no_image_is_reordered(name):
    """Only kernels are, although the networks' widths are not multiples of 8."""
    batch = 8
    graph = tf.function(training_forward(build(name))).get_concrete_function(
        tf.TensorSpec((batch, 32, 32, 3))
    )
    gathered = [op.inputs[0].shape for op in graph.graph.get_operations() if op.type == "GatherV2"]
    assert gathered and not [s for s in gathered if s.rank == 4 and s[0] == batch]


def test_layers_without_a_lowering_are_called():
    image = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Flatten()(image))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(4, activation="gelu")(x))
    model = keras.Model(image, x)
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    before = model.get_weights()
    found, statistics = training_forward(model)(images), model.get_weights()
    model.set_weights(before)
    np.testing.assert_allclose(found, model(images, training=True))
    for value, wanted in zip(statistics, model.get_weights(), strict=True):
        np.testing.assert_allclose(value, wanted)


def test_frozen_layers_keep_their_statistics():
    model = build("v2")
    model.get_layer("stage2_unit1").trainable = False
    before = model.get_layer("stage2_unit1").get_weights()
    training_forward(model)(np.ones((2, 32, 32, 3), "float32"))
    for value, wanted in zip(model.get_layer("stage2_unit1").get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, wanted)
