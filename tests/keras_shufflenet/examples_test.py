"""Every example of the package's docstrings, run as a doctest."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

import keras_shufflenet
from keras_shufflenet.checkpoints.networks import save_torchvision

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(keras_shufflenet.__path__, "keras_shufflenet.")
    # Its flags would be everybody's; it has no functions for users.
    if not module.name.endswith("__main__")
]
EXAMPLES = [
    example
    for module in MODULES
    for example in doctest.DocTestFinder().find(module)
    if example.examples
]
PUBLIC = [getattr(keras_shufflenet, name) for name in keras_shufflenet.__all__]


@pytest.fixture(scope="module")
def model():
    return keras_shufflenet.ShuffleNetV2(
        0.5, input_shape=(32, 32, 3), classes=10, padding="symmetric", preprocessing="torch"
    )


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """Where examples are run: with a checkpoint of `model`."""
    folder = tmp_path_factory.mktemp("examples")
    save_torchvision(model, folder / "model.safetensors")
    (folder / "work").mkdir()
    model.save(folder / "work" / "model.keras")
    return folder


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_gives_what_it_says(example, model, folder, monkeypatch):
    monkeypatch.chdir(folder)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    # Beside the names of its module; what it assigns stays its own.
    example.globs.update(
        keras=keras, keras_shufflenet=keras_shufflenet, np=np, model=model, images=images
    )
    said = []
    doctest.DocTestRunner(optionflags=FLAGS).run(example, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__name__)
def test_everything_public_has_an_example(thing):
    assert "Examples:\n" in thing.__doc__ and ">>>" in thing.__doc__
