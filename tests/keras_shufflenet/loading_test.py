import keras
import numpy as np
import pytest

import keras_shufflenet


def test_a_saved_network_computes_the_same(tmp_path):
    model = keras_shufflenet.ShuffleNetV1(
        groups=2, input_shape=(32, 32, 3), classes=3, stem_channels=4,
        units_per_stage=(2, 2, 2), stage_channels=(8, 16, 24),
    )  # fmt: skip
    model.save(tmp_path / "model.keras")
    loaded = keras_shufflenet.load_model(tmp_path / "model.keras", compile=False)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_keras_itself_says_what_is_missing_only_opaquely(tmp_path):
    """Why the docs name the import: every layer of ours is registered under the package's name."""
    model = keras_shufflenet.ShuffleNetV2(0.5, input_shape=(32, 32, 3), classes=3)
    ours = {
        keras.saving.get_registered_name(type(layer))
        for layer in model._flatten_layers()
        if type(layer).__module__.startswith("keras_shufflenet")
    }
    assert ours and all(name.startswith("keras_shufflenet>") for name in ours)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.keras"):
        keras_shufflenet.load_model(tmp_path / "gone.keras")
