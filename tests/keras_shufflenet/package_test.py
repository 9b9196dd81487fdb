import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_shufflenet

PACKAGE = Path(keras_shufflenet.__file__).parent
ALLOWED = {"keras", "numpy", "absl", "h5py", "keras_shufflenet"}


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_only_keras_and_what_it_brings_is_imported():
    files = sorted(PACKAGE.glob("*.py"))
    assert files
    for path in files:
        roots = {name.split(".")[0] for name in imported_modules(path)}
        assert roots - set(sys.stdlib_module_names) <= ALLOWED, path.name


def test_public_names():
    assert set(keras_shufflenet.__all__) == {
        "ShuffleNetV1",
        "ShuffleNetV2",
        "ShuffleUnit",
        "ShuffleUnitV2",
        "ChannelShuffle",
        "ChannelSplit",
        "SqueezeExcite",
        "preprocess_input",
        "decode_predictions",
    }
    for name in keras_shufflenet.__all__:
        assert getattr(keras_shufflenet, name).__doc__, name


OTHER_BACKEND = """
import sys, numpy as np
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2, preprocess_input
for make in (ShuffleNetV1, ShuffleNetV2):
    model = make(input_shape=(33, 40, 3), classes=3)
    y = model(preprocess_input(np.zeros((2, 33, 40, 3), "uint8")))
    assert tuple(y.shape) == (2, 3), y.shape
assert "tensorflow" not in sys.modules
"""


@pytest.mark.parametrize("backend", ["numpy", "jax", "torch"])
def test_other_backends(backend):
    # Keras's NumPy backend uses a part of its JAX one.
    needed = "torch" if backend == "torch" else "jax"
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(PACKAGE.parent)}
    environment["PYTHONPATH"] += os.pathsep + os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", OTHER_BACKEND],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
