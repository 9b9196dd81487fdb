"""Every kind of operator in ONNX Runtime against Keras, in float32 and in int8."""

import importlib.util
from collections import Counter
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

from common.cli import UserError
from common.tflite.litert import LiteRTModel
from converters.conversion.tflite import convert_fake_quant
from converters.graph.deployment import deployment_graph
from converters.graph.emitter import MAKERS
from converters.graph.operations import Graph
from converters.graph.targets import ONNX_LOWERING
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import fake_quant_model
from keras_shufflenet import ChannelShuffle, ShuffleNetV1, ShuffleNetV2

onnx = pytest.importorskip("onnx", reason="onnx is missing: keras_shufflenet[onnx] has it")
pytest.importorskip("onnxruntime", reason="onnxruntime is missing: keras_shufflenet[onnx] has it")

# They import onnx.
from converters.onnx_target.export import onnx_model  # noqa: E402
from converters.onnx_target.operators import OPERATORS  # noqa: E402
from converters.onnx_target.runtime import OnnxModel  # noqa: E402

L = keras.layers
# A share of the outputs' standard deviation.
BOUND = 1e-4
SHAPE = (12, 10, 8)


def layers_of_walk_test():
    path = Path(__file__).parents[1] / "graph/walk_test.py"
    spec = importlib.util.spec_from_file_location("walk_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def branches(layers):
    """A model with a branch for each layer: its input is shuffled, its output is an output."""
    image = keras.Input(SHAPE)
    x = ChannelShuffle(2)(L.Conv2D(8, 3, padding="same")(image))
    return keras.Model(image, [layer(x) for layer in layers])


def random_images(count, shape=SHAPE):
    return np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)


def saved(model, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    return OnnxModel(path)


@pytest.mark.medium
@pytest.mark.parametrize(("target", "layout"), [("cpu", "nchw"), ("edgetpu", "nhwc")])
def test_every_layer_computes_what_keras_computes(target, layout, tmp_path):
    walk_test = layers_of_walk_test()
    model = walk_test.randomize(branches([make() for make in walk_test.LAYERS.values()]))
    graph, images = deployment_graph(model, target), random_images(2)
    found = saved(onnx_model(graph, layout=layout), tmp_path).predict_all([images])
    for name, theirs, mine in zip(
        walk_test.LAYERS, model(images, training=False), found, strict=True
    ):
        theirs = np.asarray(theirs)
        assert theirs.shape == mine.shape, name
        assert np.abs(theirs - mine).max() <= BOUND * theirs.std(), name


@pytest.mark.medium
def test_every_merge_computes_what_keras_computes(tmp_path):
    walk_test = layers_of_walk_test()
    image = keras.Input(SHAPE)
    x = L.Conv2D(8, 1)(image)
    y = ChannelShuffle(4)(L.DepthwiseConv2D(3, padding="same")(x))
    outputs = [merge(x, y) for merge in walk_test.MERGES.values()]
    model = walk_test.randomize(keras.Model(image, outputs))
    images = random_images(2)
    found = saved(onnx_model(deployment_graph(model)), tmp_path).predict_all([images])
    for name, theirs, mine in zip(
        walk_test.MERGES, model(images, training=False), found, strict=True
    ):
        theirs = np.asarray(theirs)
        assert np.abs(theirs - mine).max() <= BOUND * theirs.std(), name


def test_there_are_nodes_for_every_kind_of_operator():
    # Borders of float32 are of quantization-aware training, which ends in .tflite files.
    assert OPERATORS.keys() == MAKERS.keys() - {"quantize", "dequantize"}


def test_an_operator_without_nodes_is_named():
    graph = Graph()
    graph.simple("fold", [graph.input(SHAPE)], "mine")
    with pytest.raises(UserError, match="operator 'mine' is of the kind 'fold'"):
        onnx_model(graph)


def test_an_unknown_layout_is_named():
    with pytest.raises(ValueError, match="layout='chwn'"):
        onnx_model(Graph(), layout="chwn")


def test_nearest_pixels_of_sizes_that_are_no_multiples(tmp_path):
    """The pixels that TensorFlow takes, also where two are equally near."""
    graph, images = Graph(), random_images(1)
    x = graph.input(SHAPE)
    sizes = [(12, 10), (6, 5), (4, 10), (18, 15), (7, 9), (36, 20)]
    outputs = [graph.resize(x, f"to_{size[0]}", size, "nearest").tensor for size in sizes]
    graph.outputs = tuple(outputs)
    found = saved(onnx_model(graph), tmp_path).predict_all([images])
    for size, mine in zip(sizes, found, strict=True):
        expected = keras.ops.image.resize(images, size, "nearest")
        np.testing.assert_array_equal(np.asarray(expected), mine)


def test_an_input_and_an_output_twice_are_outputs_with_names_of_their_own(tmp_path):
    graph, images = Graph(), random_images(2)
    x = graph.input(SHAPE)
    y = graph.simple("relu", [x], "relu")
    graph.outputs = (x.tensor, y.tensor, y.tensor)
    model = onnx_model(graph, layout="nhwc")
    assert [each.name for each in model.graph.output] == ["image/output_0", "relu", "relu/output_2"]
    found = saved(model, tmp_path).predict_all([images])
    for mine, expected in zip(found, (images, images.clip(0), images.clip(0)), strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_the_file_has_the_input_that_was_asked_for():
    graph = deployment_graph(branches([L.Conv2D(4, 3), L.GlobalAveragePooling2D()]))
    shapes = {}
    for layout in ("nchw", "nhwc"):
        model = onnx_model(graph, layout=layout)
        ends = (*model.graph.input, *model.graph.output)
        shapes[layout] = [
            [axis.dim_value for axis in end.type.tensor_type.shape.dim] for end in ends
        ]
    assert shapes["nchw"] == [[1, 8, 12, 10], [1, 4, 10, 8], [1, 8]]
    assert shapes["nhwc"] == [[1, 12, 10, 8], [1, 10, 8, 4], [1, 8]]


SMALL = {
    "input_shape": (64, 64, 3), "classes": 10, "units_per_stage": (2, 2, 2),
    "classifier_activation": None,
}  # fmt: skip
NETWORKS = {
    "v2": partial(ShuffleNetV2, 0.5, padding="symmetric", **SMALL),
    "v1": partial(ShuffleNetV1, 0.5, 3, se=True, **SMALL),
}


def test_a_network_has_no_pads_and_no_slices_of_its_own():
    """Pads are part of windows, slices of one tensor are one split."""
    graph = deployment_graph(NETWORKS["v2"](), lowering=ONNX_LOWERING)
    counts = Counter(node.op_type for node in onnx_model(graph).graph.node)
    assert counts["Split"] and not counts.keys() & {"Pad", "Slice", "Reshape", "Transpose"}


@pytest.mark.medium
@pytest.mark.parametrize("name", ["v2", pytest.param("v1", marks=pytest.mark.slow)])
def test_int8_is_that_of_the_tflite_file(name, tmp_path):
    model = layers_of_walk_test().randomize(NETWORKS[name]())
    graph, images = deployment_graph(model), random_images(32, (64, 64, 3))
    ranges = calibrate(graph, images)
    path = tmp_path / "model.tflite"
    path.write_bytes(convert_fake_quant(fake_quant_model(graph, ranges)))
    tflite = LiteRTModel(path)
    found = saved(onnx_model(graph, ranges), tmp_path).predict(images[:8])
    steps = np.abs(found - tflite.predict(images[:8])) / tflite.output_quantization[0]
    assert steps.max() <= 3 and steps.mean() <= 0.5
