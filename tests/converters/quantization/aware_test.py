"""A user's own Keras 3 network, with its own losses, trained with int8 rounding in it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert import interpreter as litert

from common.cli import UserError
from converters.conversion.tflite import convert_fake_quant
from converters.quantization.aware import quantization_aware
from converters.quantization.fake_quantization import SharedRange
from converters.quantization.options import QuantizationOptions
from converters.quantized_source import quantized_source

pytestmark = pytest.mark.medium

L = keras.layers
CLASSES = 3
LOSSES = ["sparse_categorical_crossentropy", "binary_crossentropy"]


@pytest.fixture(scope="module")
def data():
    """Images in [0, 1] whose class is their strongest colour, and whether they are bright."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, CLASSES, 256)
    bright = rng.integers(0, 2, 256)
    images = rng.uniform(0, 0.4, (256, 12, 12, 3)) + 0.2 * bright[:, None, None, None]
    images += 0.4 * np.eye(3)[kinds][:, None, None, :]
    return images.astype(np.float32), [kinds, bright]


@pytest.fixture(scope="module")
def model(data):
    """A Keras 3 model with two outputs, half trained."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((12, 12, 3))
    for filters in (8, 16):
        x = L.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = L.Activation("hard_swish")(L.BatchNormalization(momentum=0.5)(x))
    x = L.Dropout(0.2)(L.GlobalAveragePooling2D()(x))
    kind = L.Dense(CLASSES, activation="softmax", name="kind")(x)
    bright = L.Dense(1, activation="sigmoid", name="bright")(x)
    model = keras.Model(image, [kind, bright])
    model.compile(keras.optimizers.Adam(0.01), LOSSES, jit_compile=False)
    model.fit(*data, batch_size=32, epochs=2, verbose=0)
    return model


def run(content, images):
    """Returns the file's two outputs for images."""
    interpreter = litert.Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    scale, zero = source["quantization"]
    rows = []
    for image in images:
        raw = np.clip(np.rint(image / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], raw[np.newaxis])
        interpreter.invoke()
        row = []
        for detail in interpreter.get_output_details():
            step, offset = detail["quantization"]
            row.append((interpreter.get_tensor(detail["index"])[0].astype(float) - offset) * step)
        rows.append(row)
    return [np.stack(values) for values in zip(*rows, strict=True)]


@pytest.fixture(scope="module")
def trained(model, data):
    """(history, model) of a training with a loss for each output."""
    images, labels = data
    aware = quantization_aware(model, images, pixels=(0, 1))
    aware.compile(tf_keras.optimizers.Adam(0.01), LOSSES)
    history = aware.fit(images, labels, batch_size=32, epochs=4, verbose=0).history
    return history, aware


def test_without_a_step_it_is_the_float_model_rounded(model, data):
    aware = quantization_aware(model, data[0], pixels=(0, 1))
    for theirs, mine in zip(model(data[0]), aware(data[0]), strict=True):
        assert 0 < np.abs(np.asarray(theirs) - mine).max() < 0.05


def test_fit_trains_with_a_loss_an_output(trained, data):
    history, aware = trained
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    kinds, bright = aware.predict(data[0], verbose=0)
    assert (kinds.argmax(-1) == data[1][0]).mean() > 0.9
    assert ((bright[:, 0] > 0.5) == data[1][1]).mean() > 0.9


def test_ranges_do_not_train(trained, model, data):
    _, aware = trained
    before = quantization_aware(model, data[0], pixels=(0, 1))
    ranges = [layer for layer in aware.layers if isinstance(layer, SharedRange)]
    assert len(ranges) > 5
    for layer in ranges:
        np.testing.assert_array_equal(
            layer.get_weights(), before.get_layer(layer.name).get_weights()
        )


def test_the_file_computes_what_was_trained(trained, data):
    graph, aware, target, _ = quantized_source(trained[1])
    assert (aware, target) == (trained[1], "cpu")
    assert graph.outputs == ("kind_activation", "bright_activation")
    images = data[0][:32]
    found = run(convert_fake_quant(aware), images)
    for simulated, actual in zip(aware.predict(images, verbose=0), found, strict=True):
        # Steps of 1/256 of a probability.
        assert np.abs(simulated - actual).max() <= 3 / 256


def test_weights_are_kept_exactly(trained, model, data, tmp_path):
    _, aware = trained
    aware.save_weights(tmp_path / "aware.weights.h5")
    # Other ranges, too: they are weights.
    other = quantization_aware(model, data[0][:32])
    other.load_weights(tmp_path / "aware.weights.h5")
    for mine, theirs in zip(aware(data[0]), other(data[0]), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_loop_of_one_s_own_and_probabilities_that_round_to_zero(model, data):
    """A probability below 1/512 is 0 in the file; its logarithm must still have a gradient."""
    sure = keras.models.clone_model(model)
    sure.set_weights(model.get_weights())
    kernel, _ = model.get_layer("kind").get_weights()
    sure.get_layer("kind").set_weights([kernel, np.float32([30, 0, 0])])
    aware = quantization_aware(sure, data[0])
    assert np.all(aware(data[0], training=False)[0][:, 1] == 0)
    with tf.GradientTape() as tape:
        probabilities, _ = aware(data[0], training=True)
        labels = np.ones(len(data[0]), int)
        loss = tf_keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    variables = aware.trainable_variables
    gradients = tape.gradient(loss, variables)
    moved = [
        variable.name
        for variable, gradient in zip(variables, gradients, strict=True)
        if gradient is not None and np.abs(gradient).max() > 0
    ]
    assert len(moved) == len(variables) - 2, moved  # all but those of the other output


def test_several_inputs():
    one, two = keras.Input((8, 8, 2)), keras.Input((8, 8, 1))
    x = L.Concatenate()([L.Conv2D(4, 3)(one), L.Conv2D(4, 3)(two)])
    model = keras.Model([one, two], L.Dense(2)(L.Flatten()(x)))
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(32, 8, 8, channels)).astype(np.float32) for channels in (2, 1)]
    aware = quantization_aware(model, images)
    difference = np.asarray(model(images)) - aware(images)
    assert 0 < np.abs(difference).max() < 0.1 * np.asarray(model(images)).std()
    with pytest.raises(ValueError, match=r"`calibration_images` must .*\(8, 8, 2\)"):
        quantization_aware(model, images[::-1])


def test_other_models_have_no_source(trained, model):
    around = tf_keras.Model(trained[1].input, trained[1].outputs)
    assert [quantized_source(one) for one in (model, around, None)] == [None] * 3


def test_what_does_not_fit_is_named(model, data):
    images = data[0]
    with pytest.raises(ValueError, match=r"`target` must be one of .*target='gpu'"):
        quantization_aware(model, images, target="gpu")
    with pytest.raises(ValueError, match=r"`calibration_images` .*\(256, 12, 12, 2\)"):
        quantization_aware(model, images[..., :2])
    options = QuantizationOptions(keep_float=["knid"])
    with pytest.raises(UserError, match=r"`keep_float` names the layer 'knid'.*kind"):
        quantization_aware(model, images, options=options)
