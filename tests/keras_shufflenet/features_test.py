import keras
import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV1, ShuffleNetV2
from keras_shufflenet.features import features

UNITS = (1, 2, 2)


def as_array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_small_images_have_strides_1_to_8():
    network = ShuffleNetV2(0.5, input_shape=(32, 32, 3), small_images=True, units_per_stage=UNITS)
    assert [output.shape[1] for output in features(network).outputs] == [32, 16, 8, 4]


def test_the_last_map_is_what_the_network_computes_from(tmp_path):
    network = ShuffleNetV1(
        0.25, 4, input_shape=(32, 32, 3), include_top=False, units_per_stage=UNITS
    )
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(as_array(features(loaded)(x)[-1]), as_array(network(x)))


@pytest.mark.parametrize("other", [keras.Sequential([keras.layers.Input((8,))]), "model"])
def test_another_model_is_refused(other):
    with pytest.raises(ValueError, match="`model` must be a ShuffleNet of this package"):
        features(other)
