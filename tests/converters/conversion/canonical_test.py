import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from common.cli import UserError
from common.tflite.litert import LiteRTModel
from converters.conversion import canonical
from converters.conversion.check import BOUNDS, check_agreement, measure_agreement
from converters.conversion.ends import Ends, traceable
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2

pytestmark = pytest.mark.medium

SMALL = {
    "input_shape": (32, 32, 3),
    "classes": 5,
    "classifier_activation": None,
    "small_images": True,
    "units_per_stage": (2, 2, 2),
    "stem_channels": 8,
}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return ShuffleNetV2(stage_channels=(16, 32, 64), head_channels=32, **SMALL)


@pytest.fixture(scope="module")
def images():
    # Smooth like photographs: white noise averages out to the same logits for every image.
    coarse = np.random.default_rng(0).uniform(-1, 1, (64, 4, 4, 3))
    return coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.float32)


def agreement(network, images, path):
    return measure_agreement(network.predict(images, verbose=0), LiteRTModel(path).predict(images))


@pytest.mark.parametrize("quantization", canonical.QUANTIZATIONS)
def test_conversion_agrees_with_keras(network, images, tmp_path, quantization):
    path = tmp_path / "model.tflite"
    path.write_bytes(canonical.convert(network, quantization, images))
    model = LiteRTModel(path)
    assert (model.input_shape, model.output_shape) == ((1, 32, 32, 3), (1, 5))
    check_agreement(agreement(network, images, path), BOUNDS[quantization], path.name)


def test_v1_with_grouped_convolutions_agrees_with_keras(images, tmp_path):
    network = ShuffleNetV1(groups=2, stage_channels=(16, 32, 64), se=True, **SMALL)
    path = tmp_path / "model.tflite"
    path.write_bytes(canonical.convert(network))
    check_agreement(agreement(network, images, path), BOUNDS["none"], path.name)


def test_int8_has_no_float_tensor(network, images):
    content = canonical.convert(network, "int8-ptq", images)
    graph = schema.Model.GetRootAs(content).Subgraphs(0)
    types = {graph.Tensors(index).Type() for index in range(graph.TensorsLength())}
    assert schema.TensorType.FLOAT32 not in types
    assert schema.TensorType.INT8 in types


def test_int8_rejects_an_operator_without_an_integer_kernel(images):
    image = keras.Input((32, 32, 3))
    outputs = keras.layers.Dense(2)(keras.ops.erf(keras.layers.Flatten()(image)))
    with pytest.raises(UserError, match="cannot convert 'odd' with quantization 'int8-ptq'"):
        canonical.convert(keras.Model(image, outputs, name="odd"), "int8-ptq", images[:4])


def test_model_as_second_argument_is_caught_as_nan(network, images, tmp_path):
    """`canonical` avoids this trap of the converter; if it did not, the check would find it."""
    function, signature = traceable(network, Ends())
    traced = function.get_concrete_function(*signature)
    wrong = tf.lite.TFLiteConverter.from_concrete_functions([traced], network)
    path = tmp_path / "wrong.tflite"
    path.write_bytes(wrong.convert())
    with pytest.raises(UserError, match="converted file gives NaN"):
        agreement(network, images, path)


@pytest.mark.parametrize("quantization", canonical.QUANTIZATIONS)
def test_another_network_is_caught(network, images, tmp_path, quantization):
    keras.utils.set_random_seed(1)
    other = ShuffleNetV2(stage_channels=(16, 32, 64), head_channels=32, **SMALL)
    path = tmp_path / "other.tflite"
    path.write_bytes(canonical.convert(other, quantization, images))
    with pytest.raises(UserError, match=r"other.tflite does not compute .* rms"):
        check_agreement(agreement(network, images, path), BOUNDS[quantization], path.name)


def test_arguments_are_checked(network, images):
    with pytest.raises(ValueError, match=r"quantization must be one of .* received: 'int4'"):
        canonical.convert(network, "int4")
    with pytest.raises(ValueError, match="calibration must hold images"):
        canonical.convert(network, "int8-ptq", images[:0])
