"""The same files give the same logits on every backend of Keras.

Another backend is another process. `make test-backends` installs them, and runs all tests of the
networks on each as well.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV1, ShuffleNetV2, ShuffleNetV2Large, ShuffleNetV2Plus
from keras_shufflenet.layers import ShortcutPool

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (33, 40, 3)
NETWORKS = {
    "v1.keras": lambda: ShuffleNetV1(0.5, 3, se=True, **ARGUMENTS),
    "v2.keras": lambda: ShuffleNetV2(0.5, padding="symmetric", **ARGUMENTS),
    "v2_plus.keras": lambda: ShuffleNetV2Plus(
        stage_channels=(18, 24, 32, 36), head_channels=40, **ARGUMENTS
    ),
    "v2_large.keras": lambda: ShuffleNetV2Large(
        units_per_stage=(2, 1, 2, 1), stage_channels=(16, 16, 32, 48), head_channels=20, **ARGUMENTS
    ),
}
ARGUMENTS = {"input_shape": SHAPE, "classes": 5, "classifier_activation": None}

LOAD_AND_RUN = """
import sys
import keras, numpy as np
import keras_shufflenet
folder = sys.argv[1]
x = keras_shufflenet.preprocess_input(np.load(f"{folder}/images.npy"))
for name in sys.argv[2:]:
    y = keras.saving.load_model(f"{folder}/{name}")(x)
    np.save(f"{folder}/{name}.{keras.backend.backend()}.npy", keras.ops.convert_to_numpy(y))
assert "tensorflow" not in sys.modules or keras.backend.backend() == "tensorflow"
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory, randomize):
    """A folder with networks whose BatchNormalization is not at its start, images and logits."""
    folder = tmp_path_factory.mktemp("backends")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, *SHAPE), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    for name, build in NETWORKS.items():
        keras.utils.set_random_seed(0)
        model = randomize(build())
        model.save(folder / name)
        logits = model(images / np.float32(127.5) - np.float32(1))
        np.save(folder / f"{name}.npy", keras.ops.convert_to_numpy(logits))
    return folder


@pytest.mark.parametrize("backend", ["tensorflow", "numpy", "jax", "torch"])
def test_logits_are_the_same(backend, saved):
    # Keras's NumPy backend uses a part of its JAX one.
    needed = {"numpy": "jax"}.get(backend, backend)
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed: make test-backends")
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AND_RUN, saved, *NETWORKS],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for name in NETWORKS:
        expected = np.load(saved / f"{name}.npy")
        error = np.abs(np.load(saved / f"{name}.{backend}.npy") - expected).max()
        # Rounding: at most 7e-7 was measured.
        assert error <= 1e-5 * np.abs(expected).max(), name


@pytest.mark.parametrize("size", range(1, 8))
def test_the_shortcut_s_pool_averages_the_pixels_inside(size):
    image = np.random.default_rng(size).normal(size=(size, size + 1)).astype("float32")
    pooled = ShortcutPool(padding="same")(image[None, :, :, None])
    # "same" begins a pixel before an odd size, and at the first pixel of an even one.
    rows, columns = (range(-(n % 2), n - 1 + n % 2, 2) for n in image.shape)
    expected = [
        [image[max(row, 0) : row + 3, max(column, 0) : column + 3].mean() for column in columns]
        for row in rows
    ]
    actual = keras.ops.convert_to_numpy(pooled)[0, :, :, 0]
    np.testing.assert_allclose(actual, expected, atol=1e-6)
