import keras
import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV2
from keras_shufflenet.complexity import complexity
from trainers.networks.mobilenet import VARIANTS, mobilenet_v2


@pytest.mark.parametrize(
    ("scale", "small_images"),
    [
        # Building the networks of the other cases takes half a minute.
        variant if variant[0] == 0.5 else pytest.param(*variant, marks=pytest.mark.slow)
        for variant in VARIANTS
    ],
)
def test_the_multiply_adds_are_those_of_shufflenet_v2(scale, small_images):
    size, classes = (32, 10) if small_images else (224, 1000)
    model = mobilenet_v2(scale, (size, size, 3), classes, small_images)
    rival = ShuffleNetV2(scale, classes=classes, small_images=small_images)
    assert complexity(model).macs == pytest.approx(complexity(rival).macs, rel=1e-3)


def test_small_images_are_halved_as_often_as_in_shufflenet_v2():
    model = mobilenet_v2(0.5, (32, 32, 3), 10, small_images=True)
    assert model.get_layer("out_relu").output.shape[1:3] == (4, 4)
    assert model.output.shape == (None, 10)


def test_at_even_sizes_it_computes_what_keras_applications_does():
    variant = VARIANTS[0.5, False]
    ours = mobilenet_v2(0.5, (64, 64, 3), 10, small_images=False)
    theirs = keras.applications.MobileNetV2(
        (64, 64, 3), variant.alpha, include_top=False, weights=None
    )
    # Everything except the head, the pool and the classifier.
    end = "block_16_project_BN"
    ours, theirs = (keras.Model(m.input, m.get_layer(end).output) for m in (ours, theirs))
    rng = np.random.default_rng(0)
    ours.set_weights([rng.uniform(0.1, 1, weight.shape) - 0.3 for weight in ours.weights])
    for layer in ours.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(np.abs(layer.moving_variance) + 0.1)
    theirs.set_weights(ours.get_weights())
    images = rng.uniform(-1, 1, (2, 64, 64, 3)).astype("float32")
    expected = theirs(images).numpy()
    np.testing.assert_allclose(ours(images), expected, atol=1e-5 * np.abs(expected).max())


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match=r"`scale` must be one of \(0.5, 1.0, 1.5, 2.0\)"):
        mobilenet_v2(0.25, (32, 32, 3), 10, small_images=True)
