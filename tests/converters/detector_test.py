"""The detector through the deployment graph: exact in float, one scale at its int8 output."""

import keras
import numpy as np
import pytest

from common.tflite.litert import LiteRTModel
from common.tflite.operators import operator_counts
from converters.conversion.tflite import convert_fake_quant
from converters.graph.deployment import deployment_graph
from converters.graph.emitter import emit
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import fake_quant_model
from converters.random_weights import randomize_batch_norms
from keras_shufflenet import ShuffleNetDetector, ShuffleNetV1, ShuffleNetV2

pytestmark = pytest.mark.medium

# A share of the outputs' standard deviation.
BOUND = 1e-4
COMMON = {"units_per_stage": (1, 2, 1), "input_shape": (64, 96, 3), "include_top": False}


def v2(**settings):
    return ShuffleNetV2(
        stage_channels=(12, 16, 24), stem_channels=8, head_channels=8, **COMMON, **settings
    )


def detector(backbone, **arguments):
    model = ShuffleNetDetector(backbone=backbone, width=16, **arguments)
    randomize_batch_norms(model, 0)
    # Fresh predictions are nearly constant.
    kernel = model.get_layer("predictions").kernel
    kernel.assign(np.random.default_rng(0).normal(0, 0.3, kernel.shape))
    return model


DETECTORS = {
    "pan": lambda: detector(v2()),
    "pan of two levels": lambda: detector(v2(), strides=(8, 16)),
    "fpn": lambda: detector(v2(), neck="fpn"),
    "fused": lambda: detector(v2(), neck="fused"),
    "megvii": lambda: detector(v2(convention="megvii", padding="symmetric")),
    "v2 star": lambda: detector(v2(first_depthwise=True)),
    "v1": lambda: detector(ShuffleNetV1(0.25, 3, **COMMON)),
}


def images(count):
    return np.random.default_rng(1).uniform(-1, 1, (count, 64, 96, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "target"), [*((kind, "cpu") for kind in DETECTORS), ("pan", "micro")]
)
def test_the_deployment_graph_predicts_the_same(kind, target):
    keras.utils.set_random_seed(0)
    model = DETECTORS[kind]()
    x = images(2)
    expected = np.asarray(model(x, training=False))
    graph = deployment_graph(model, target)
    found = np.asarray(emit(graph)(x))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= BOUND * expected.std()
    if kind != "v1":
        assert not any(op.kind == "transpose" for op in graph.ops.values())


def test_the_int8_file_is_integer_alone_and_close(tmp_path):
    keras.utils.set_random_seed(0)
    model = DETECTORS["pan"]()
    x = images(8)
    graph = deployment_graph(model)
    file = tmp_path / "detector.tflite"
    file.write_bytes(convert_fake_quant(fake_quant_model(graph, calibrate(graph, x))))
    kinds = {str(kind).upper() for kind in operator_counts(file)}
    assert not {kind for kind in kinds if "QUANTIZE" in kind}, kinds
    model_file = LiteRTModel(file)
    assert model_file.output_dtype == np.int8
    assert model_file.output_shape == (1, *model.output_shape[1:])
    # One scale for sides and classes of all levels, as wide as what they are.
    scale, _ = model_file.output_quantization
    expected = np.asarray(model(x, training=False))
    assert scale == pytest.approx(np.ptp(expected) / 255, rel=0.1)
    found = model_file.predict(x)
    error = np.sqrt(np.mean((found - expected) ** 2))
    assert error < 0.15 * expected.std()
