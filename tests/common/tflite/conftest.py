from collections.abc import Callable

import keras
import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

from converters.conversion import canonical


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """A small int8 .tflite file: two convolutions, a mean and a fully connected layer."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    x = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    path = tmp_path_factory.mktemp("tflite") / "good.tflite"
    images = np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 3)).astype(np.float32)
    path.write_bytes(canonical.convert(keras.Model(image, x), "int8-ptq", images))
    return path


def _output(content, x):
    interpreter = litert.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.fixture(scope="session")
def output() -> Callable:
    """Runs the content of a .tflite file on an input and returns its output."""
    return _output
