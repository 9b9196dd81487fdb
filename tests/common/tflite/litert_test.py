import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from common.cli import UserError
from common.tflite.litert import LiteRTModel, Tensor, litert_version
from converters.conversion import canonical
from edge.running import runner
from keras_shufflenet import preprocess_input


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(4)(x))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (32, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(network, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tflite")
    for name, quantization in {"none": "none", "int8": "int8-ptq"}.items():
        content = canonical.convert(network, quantization, images)
        (folder / f"{name}.tflite").write_bytes(content)
    return folder


def test_float_model_gives_the_logits_of_keras(folder, network, images):
    model = LiteRTModel(folder / "none.tflite")
    assert (model.input_shape, model.output_shape) == ((1, 8, 8, 3), (1, 4))
    assert (model.input_dtype, model.input_quantization) == (np.float32, None)
    np.testing.assert_allclose(
        model.predict(images), network.predict(images, verbose=0), rtol=0, atol=1e-6
    )


def test_int8_model_gives_the_logits_of_keras_to_four_steps(folder, network, images):
    model = LiteRTModel(folder / "int8.tflite")
    assert model.input_dtype == model.output_dtype == np.int8
    step = model.output_quantization[0]
    error = np.abs(model.predict(images) - network.predict(images, verbose=0))
    assert 0 < error.max() <= 4 * step


def test_reference_kernels_agree_to_one_step(folder, images):
    optimized = LiteRTModel(folder / "int8.tflite")
    reference = LiteRTModel(folder / "int8.tflite", reference_kernels=True)
    steps = optimized.invoke_all([images])[0].astype(int) - reference.invoke_all([images])[0]
    assert np.abs(steps).max() <= 1


def test_inputs_are_rounded_to_nearest_and_saturated(folder):
    model = LiteRTModel(folder / "int8.tflite")
    scale, zero_point = model.input_quantization
    quantized = model.quantize_input(np.array([0, 1.4 * scale, 1.6 * scale, 1e9, -1e9]))
    assert quantized.dtype == np.int8
    assert quantized.tolist() == [zero_point, zero_point + 1, zero_point + 2, 127, -128]


@pytest.mark.parametrize(
    ("dtype", "zero_point"), [("uint8", 128), ("int8", 0), ("uint8", 127), ("int8", -1)]
)
def test_pixels_from_minus_one_to_one_are_stored_as_they_are(dtype, zero_point):
    pixels = np.arange(256, dtype=np.uint8)
    quantization = (float(np.float32(2 / 255)), zero_point)
    tensor = Tensor("image", (1, 1, 256, 1), np.dtype(dtype), quantization, 0)
    stored = tensor.quantize(preprocess_input(pixels[:, None], mode="tf"))[:, 0]
    # What a camera hands over: the bytes, or the bytes minus 128.
    np.testing.assert_array_equal(stored, pixels.astype(int) + np.iinfo(dtype).min)
    detail = {"dtype": dtype, "quantization": quantization}
    constants = {"scale": [1 / 127.5], "offset": [-1.0]}
    board = runner._value(pixels, {**detail, "shape": [256]}, constants)
    np.testing.assert_array_equal(board, stored)


def test_a_folder_s_name_need_not_be_utf8(folder, tmp_path):
    other = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(folder, other)
    assert LiteRTModel(other / "int8.tflite").input_dtype == np.int8
    assert len(runner.Model(str(other / "int8.tflite"), 1, None).noise()) == 1


def test_dequantized_outputs_are_real_numbers(folder):
    model = LiteRTModel(folder / "int8.tflite")
    scale, zero_point = model.output_quantization
    raw = np.array([[zero_point, zero_point - 3]], np.int8)
    np.testing.assert_allclose(model.dequantize_output(raw), [[0, -3 * scale]], rtol=1e-6)


def test_no_images_give_no_logits(folder):
    assert LiteRTModel(folder / "int8.tflite").predict(np.zeros((0, 8, 8, 3))).shape == (0, 4)


def test_threads_below_one_are_named(folder):
    with pytest.raises(ValueError, match="threads must be at least 1, received: 0"):
        LiteRTModel(folder / "none.tflite", threads=0)


@pytest.mark.parametrize("x", [np.zeros((1, 8, 8, 3), np.float32), np.zeros((1, 8, 9, 3), np.int8)])
def test_another_dtype_or_shape_is_refused(folder, x):
    with pytest.raises(ValueError, match="x must be int8 of shape"):
        LiteRTModel(folder / "int8.tflite").invoke(x)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.tflite"):
        LiteRTModel(tmp_path / "nothing.tflite")


@pytest.mark.parametrize("content", [b"", b"TFL3", b"PK\x03\x04 no model", b"\x1c\0\0\0TFL3"])
def test_what_is_no_model_is_named(tmp_path, content):
    path = tmp_path / "bad.tflite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.tflite"):
        LiteRTModel(path)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9, 0.99])
def test_truncated_file_is_named(folder, tmp_path, share):
    content = (folder / "int8.tflite").read_bytes()
    path = tmp_path / "short.tflite"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"short\.tflite"):
        LiteRTModel(path)


def test_nothing_is_printed_by_the_runtime(folder, capfd):
    LiteRTModel(folder / "none.tflite")
    assert capfd.readouterr() == ("", "")


def test_tensorflow_is_not_needed():
    code = "import sys, common.tflite.litert; print({'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert litert_version().split()[0] in ("ai-edge-litert", "tflite-runtime")
