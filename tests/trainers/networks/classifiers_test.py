"""A classifier fits its training, and gives logits."""

from pathlib import Path

import keras
import numpy as np
import pytest

from common.cli import UserError
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2
from trainers.networks.classifiers import (
    check_channels,
    check_classifier,
    check_precision,
    without_softmax,
)
from trainers.settings import ImageConfig

L = keras.layers
PATH = Path("work/model.keras")
IMAGES = ImageConfig(input_size=32, crop_share=1.0)


def network(activation=None, shape=(32, 32, 3), classes=5):
    image = keras.Input(shape)
    x = L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(image))
    return keras.Model(image, L.Dense(classes, activation, name="dense")(x))


def followed_by(layer):
    model = network()
    return keras.Model(model.input, layer(model.output))


def nested(activation):
    image = keras.Input((32, 32, 3))
    return keras.Model(image, network(activation)(L.Rescaling(2.0)(image)))


def sequential(*end):
    return keras.Sequential([keras.Input((32, 32, 3)), L.Conv2D(4, 32), L.Flatten(), *end])


SMALL = {"input_shape": (32, 32, 3), "classes": 5, "units_per_stage": (1, 1, 1)}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: network("softmax"), id="an activation"),
        pytest.param(lambda: followed_by(L.Softmax()), id="a layer"),
        pytest.param(lambda: followed_by(L.Activation("softmax")), id="an activation layer"),
        pytest.param(lambda: followed_by(keras.ops.softmax), id="an operation"),
        pytest.param(lambda: nested("softmax"), id="in a model in the model"),
        pytest.param(lambda: sequential(L.Dense(5, "softmax")), id="sequential"),
        pytest.param(lambda: sequential(L.Dense(5), L.Softmax()), id="a sequential layer"),
        pytest.param(lambda: ShuffleNetV1(0.5, **SMALL), id="V1"),
        pytest.param(lambda: ShuffleNetV2(0.5, **SMALL), id="V2"),
    ],
)
def test_the_logits_before_a_softmax(make):
    model = make()
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    logits = without_softmax(model)(x).numpy()
    assert np.abs(logits.sum(-1) - 1).min() > 1e-3
    np.testing.assert_allclose(keras.ops.softmax(logits), model(x), atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        network,
        lambda: network("sigmoid"),
        lambda: nested(None),
        lambda: sequential(L.Dense(5)),
        lambda: followed_by(L.ReLU()),
    ],
)
def test_a_model_without_a_softmax_stays_itself(make):
    model = make()
    assert without_softmax(model) is model


def test_a_classifier_of_its_training_is_accepted():
    check_classifier(network(), IMAGES, 5, PATH)
    check_classifier(network(shape=(None, None, 3)), IMAGES, 5, PATH)
    check_precision(network(), PATH)
    check_channels((None, 32, 32, 3), 3, PATH, "cifar10")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            network(classes=4),
            r"model\.keras has 4 classes, but labels\.txt has 5 labels; ",
        ),
        (
            network(shape=(48, 40, 3)),
            r"expects images of 48x40 pixels, .* says input_size 32; ",
        ),
        (
            keras.Model(image := keras.Input((32, 32, 3)), L.ReLU()(image)),
            r"model\.keras is not an image classifier: it maps .* to \(None, 32, 32, 3\)",
        ),
        (keras.Sequential([L.Dense(5)]), r"model\.keras is not an image classifier"),
    ],
)
def test_a_classifier_of_another_training_is_refused(model, message):
    with pytest.raises(UserError, match=message) as caught:
        check_classifier(model, IMAGES, 5, PATH)
    assert "\n" not in str(caught.value)


def test_other_channels_are_refused():
    with pytest.raises(
        UserError, match=r"expects images of 3 channels, but those of digits have 1"
    ):
        check_channels((None, 32, 32, 3), 1, PATH, "digits")


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_a_network_of_mixed_precision_is_refused(precision):
    keras.config.set_dtype_policy(precision)
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    half = precision.removeprefix("mixed_")
    with pytest.raises(
        UserError, match=rf"computes in {half} \(layer .*\), .*needs float32; build"
    ):
        check_precision(model, PATH)
