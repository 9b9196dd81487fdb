"""The files that deployment graphs are converted to: operators, types, partitions, agreement."""

import dataclasses
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter as litert

from common.tflite.litert import LiteRTModel
from common.tflite.operators import operator_counts
from converters.conversion import tflite
from converters.conversion.check import BOUNDS, check_agreement, measure_agreement
from converters.graph.deployment import deployment_graph
from converters.graph.emitter import emit
from converters.graph.operations import Graph
from converters.graph.operator import Folded
from converters.graph.scales import scale_groups
from converters.graph.targets import LOWERINGS
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import fake_quant_model
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2, ShuffleNetV2Plus

pytestmark = pytest.mark.medium

# Operators that the deployment graph is meant to avoid.
MOVED = {"TRANSPOSE", "RESHAPE", "GATHER", "SPLIT", "SPLIT_V", "PACK"}
REQUANTIZED = {"QUANTIZE", "DEQUANTIZE"}
SMALL = {"input_shape": (32, 32, 3), "classes": 5, "small_images": True, "stem_channels": 8}


@pytest.fixture(scope="module")
def images():
    # Smooth like photographs: white noise averages out to the same logits for every image.
    coarse = np.random.default_rng(0).uniform(-1, 1, (64, 4, 4, 3))
    return coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    """Five units in a stage, so that five tensors meet at its end."""
    keras.utils.set_random_seed(0)
    return ShuffleNetV2(
        units_per_stage=(5, 1, 1),
        stage_channels=(32, 48, 64),
        head_channels=32,
        classifier_activation=None,
        **SMALL,
    )


def fake_quant(network, images, target="cpu"):
    graph = deployment_graph(network, target)
    return fake_quant_model(graph, calibrate(graph, images))


@pytest.fixture(scope="module")
def quantized(network, images):
    return fake_quant(network, images)


@pytest.fixture(scope="module")
def int8_path(quantized, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "int8.tflite"
    path.write_bytes(tflite.convert_fake_quant(quantized))
    return path


def written(path, content):
    path.write_bytes(content)
    return path


def partitions(path):
    """Returns how many pieces LiteRT cuts the graph into, and whether they cover all of it.

    XNNPACK runs each piece as one node of the kind DELEGATE.
    """
    interpreter = litert.Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    pieces = [op for op in interpreter._get_ops_details() if op["op_name"] == "DELEGATE"]
    ends = (interpreter.get_input_details()[0], interpreter.get_output_details()[0])
    whole = ends[0]["index"] in pieces[0]["inputs"] and ends[1]["index"] in pieces[-1]["outputs"]
    return len(pieces), whole


def test_int8_of_v2_moves_and_requantizes_nothing(network, images, int8_path):
    counts = operator_counts(int8_path)
    assert not set(counts) & (MOVED | REQUANTIZED)
    # 5 convolutions in a first unit, 3 in the others; the stem, the head, and one more for each
    # producer of several slices.
    assert counts["DEPTHWISE_CONV_2D"]["count"] == 3 * 2 + 4
    model = LiteRTModel(int8_path)
    assert model.input_dtype == model.output_dtype == np.int8
    agreement = measure_agreement(network.predict(images, verbose=0), model.predict(images))
    check_agreement(agreement, BOUNDS["int8-ptq"], "int8")


def test_xnnpack_takes_the_cpu_lowering_as_one_partition(int8_path):
    assert partitions(int8_path) == (1, True)


@pytest.mark.slow
def test_xnnpack_would_cut_longer_concatenations(network, images, tmp_path):
    content = tflite.convert_fake_quant(fake_quant(network, images, "micro"))
    count, _ = partitions(written(tmp_path / "micro.tflite", content))
    assert count > 1


@pytest.mark.slow
def test_int8_of_v2_plus_moves_and_requantizes_nothing(images, tmp_path):
    keras.utils.set_random_seed(0)
    network = ShuffleNetV2Plus(
        input_shape=(32, 32, 3),
        classes=5,
        small_images=True,
        blocks=(("3x3", "5x5"), ("7x7", "3x3"), ("7x7", "3x3", "7x7", "3x3"), ("5x5", "xception")),
        stage_channels=(24, 32, 48, 64),
        head_channels=64,
        classifier_activation=None,
    )
    content = tflite.convert_fake_quant(fake_quant(network, images))
    path = written(tmp_path / "int8.tflite", content)
    counts = operator_counts(path)
    assert not set(counts) & (MOVED | REQUANTIZED)
    assert counts["HARD_SWISH"]["count"] > 20
    model = LiteRTModel(path)
    assert model.input_dtype == model.output_dtype == np.int8


@pytest.fixture(scope="module")
def v1():
    keras.utils.set_random_seed(0)
    return ShuffleNetV1(
        groups=2,
        units_per_stage=(2, 1, 1),
        stage_channels=(16, 32, 64),
        se=True,
        classifier_activation=None,
        **SMALL,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("average_pool", "pieces"), [("depthwise", 1), ("pool", 4)])
def test_average_pools_would_cut_v1(v1, images, tmp_path, average_pool, pieces):
    assert LOWERINGS["cpu"].average_pool == "depthwise"
    lowering = dataclasses.replace(LOWERINGS["cpu"], average_pool=average_pool)
    graph = deployment_graph(v1, lowering=lowering)
    content = tflite.convert_fake_quant(fake_quant_model(graph, calibrate(graph, images)))
    assert partitions(written(tmp_path / "v1.tflite", content)) == (pieces, True)


def test_an_average_is_rounded_once_inside_and_twice_at_edges(tmp_path):
    """After the convolution's rounding a factor of 1 changes nothing; other factors round again."""
    # Steps of 1/128 everywhere: the image has them, and an identity keeps them.
    integers = np.random.default_rng(0).integers(-128, 128, (4, 8, 7, 3))
    x = (integers / 128).astype(np.float32)
    identity = np.eye(3, dtype=np.float32)[None, None]
    graph = Graph()
    same = graph.conv(graph.input((8, 7, 3)), "same", Folded(identity, np.zeros(3, np.float32)))
    graph.depthwise_average(same, "average", "same")
    ranges = dict.fromkeys(scale_groups(graph).values(), (-1.0, 127 / 128))
    content = tflite.convert_fake_quant(fake_quant_model(graph, ranges))
    path = written(tmp_path / "average.tflite", content)
    exact = np.asarray(emit(graph)(x)) * 128
    assert partitions(path) == (1, True)
    for reference_kernels in (False, True):
        model = LiteRTModel(path, reference_kernels=reference_kernels)
        error = np.abs(model.predict(x) * 128 - exact)
        # The last of 8 rows is at an edge, and the first and last of 7 columns.
        assert error[:, :-1, 1:-1].max() <= 0.5 + 1e-3
        assert error.max() <= 2.25 * 0.5 + 0.5 + 1e-3


def test_uint8_ends_are_the_only_quantize(quantized, images, int8_path, tmp_path):
    path = written(tmp_path / "uint8.tflite", tflite.convert_fake_quant(quantized, "uint8"))
    counts = operator_counts(path)
    assert counts["QUANTIZE"]["count"] == 2 and "DEQUANTIZE" not in counts
    names = [op["op_name"] for op in litert.Interpreter(str(path))._get_ops_details()]
    ends = [index for index, name in enumerate(names) if name == "QUANTIZE"]
    assert ends == [0, names.index("FULLY_CONNECTED") + 1]
    model, reference = LiteRTModel(path), LiteRTModel(int8_path)
    assert model.input_dtype == model.output_dtype == np.uint8
    np.testing.assert_array_equal(
        model.invoke_all([images])[0].astype(int) - 128, reference.invoke_all([images])[0]
    )


def test_float32_ends_are_one_quantize_and_one_dequantize(quantized, tmp_path):
    path = written(tmp_path / "float32.tflite", tflite.convert_fake_quant(quantized, "float32"))
    counts = operator_counts(path)
    assert (counts["QUANTIZE"]["count"], counts["DEQUANTIZE"]["count"]) == (1, 1)
    assert LiteRTModel(path).input_dtype == np.float32


VARIANTS = {
    "v1": (ShuffleNetV1, {"groups": 2, "stage_channels": (16, 32, 64)}),
    "v1-se-symmetric": (
        ShuffleNetV1,
        {"groups": 4, "stage_channels": (16, 32, 64), "se": True, "padding": "symmetric"},
    ),
    "v2-symmetric": (
        ShuffleNetV2,
        {"stage_channels": (16, 32, 64), "head_channels": 32, "padding": "symmetric"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_int8_of_variants_with_softmax_requantizes_nothing(name, images, tmp_path):
    keras.utils.set_random_seed(0)
    build, arguments = VARIANTS[name]
    network = build(units_per_stage=(2, 1, 1), **arguments, **SMALL)
    path = written(tmp_path / "m.tflite", tflite.convert_fake_quant(fake_quant(network, images)))
    counts = operator_counts(path)
    assert not set(counts) & REQUANTIZED
    assert counts["SOFTMAX"]["count"] == 1
    if build is ShuffleNetV2:
        assert not set(counts) & MOVED
    # A step of the probabilities is 1/256; those of a fresh network differ by only a few steps.
    error = np.abs(LiteRTModel(path).predict(images) - network.predict(images, verbose=0))
    assert error.max() <= 5 / 256


def test_int16_agrees_with_keras(network, images, tmp_path):
    content = tflite.convert_int16(emit(deployment_graph(network)), images)
    path = written(tmp_path / "model.tflite", content)
    counts = operator_counts(path)
    # Only at the float32 ends, none inside.
    assert (counts["QUANTIZE"]["count"], counts["DEQUANTIZE"]["count"]) == (1, 1)
    agreement = measure_agreement(
        network.predict(images, verbose=0), LiteRTModel(path).predict(images)
    )
    check_agreement(agreement, BOUNDS["int16x8"], path.name)


def test_a_dead_convolution_still_makes_a_file_that_runs(tmp_path):
    ones = np.ones((1, 1, 1, 1), np.float32)
    graph = Graph()
    x = graph.input((4, 4, 1))
    x = graph.conv(x, "dead", Folded(-ones, np.zeros(1, np.float32)), activation="relu")
    graph.conv(x, "last", Folded(ones, np.full(1, 0.5, np.float32)))
    images = np.full((2, 4, 4, 1), 0.7, np.float32)
    content = tflite.convert_fake_quant(fake_quant_model(graph, calibrate(graph, images)))
    found = LiteRTModel(written(tmp_path / "dead.tflite", content)).predict(images)
    np.testing.assert_allclose(found, 0.5, atol=0.5 / 255)


def test_a_layer_too_large_to_be_rounded_is_named():
    sizes = {"small": (3, 4), "fc1/kernel:0": (25_088, 4096)}
    variables = [SimpleNamespace(name=n, shape=tf.TensorShape(s)) for n, s in sizes.items()]
    model, error = (
        SimpleNamespace(variables=variables),
        Exception("'tf.FakeQuantWithMinMaxVars' op"),
    )
    assert "fc1/kernel:0 has 102,760,448 weights, but" in tflite._reason(error, model)
    model.variables.pop()
    assert tflite._reason(error, model) == str(error)
