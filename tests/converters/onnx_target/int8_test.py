import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from common.tflite import flatbuffer
from converters.conversion.tflite import convert_fake_quant
from converters.graph.operations import Graph
from converters.graph.operator import Folded
from converters.onnx_target.int8 import Int8, scale_and_zero_point
from converters.quantization.fake_quantization import fake_quant_model


def small_graph():
    rng = np.random.default_rng(0)
    graph = Graph()
    x = graph.input((6, 6, 4))
    kernel, bias = rng.normal(size=(3, 3, 4, 5)), rng.normal(size=5)
    x = graph.conv(x, "conv", Folded(np.float32(kernel), np.float32(bias)), activation="relu")
    kernel, bias = rng.normal(size=(3, 3, 5, 2)), rng.normal(size=10)
    x = graph.depthwise(x, "wise", Folded(np.float32(kernel), np.float32(bias)))
    x = graph.global_pool(x, "mean", "mean", keepdims=False)
    kernel, bias = rng.normal(size=(10, 3)), rng.normal(size=3)
    graph.dense(x, "dense", Folded(np.float32(kernel), np.float32(bias)))
    return graph


RANGES = {
    "image": (-1.0, 1.0), "conv": (0.0, 7.3), "wise": (-3.1, 8.9), "mean": (-1.2, 2.0),
    "dense": (-4.0, 0.0),
}  # fmt: skip


def test_scales_and_integers_are_those_of_the_tflite_file():
    graph = small_graph()
    file = flatbuffer.unpack(convert_fake_quant(fake_quant_model(graph, RANGES)))
    constants, scales = [], set()
    for tensor in file.subgraphs[0].tensors:
        data = file.buffers[tensor.buffer].data
        if tensor.quantization is None or tensor.quantization.scale is None:
            continue
        if data is None or not len(data):
            scales.add((float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])))
        else:
            dtype = {schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32}
            constants.append(np.frombuffer(bytes(data), dtype[tensor.type]).tolist())
    int8 = Int8(graph, RANGES)
    found = [int8.activation(name) for name in graph.ops]
    assert {(float(each.scale), int(each.zero_point)) for each in found} == scales
    # TFLite's kernels are (outputs, height, width, inputs), or (1, height, width, outputs).
    orders = {"conv": (3, 0, 1, 2), "wise": (0, 1, 2, 3), "dense": (1, 0)}
    for name, order in orders.items():
        op = graph.ops[name]
        first = {"conv": (3, 2, 0, 1), "wise": (2, 3, 0, 1), "dense": (1, 0)}[name]
        kernel = op.weights.kernel.transpose(first)
        weights = int8.kernel(op, kernel.reshape(-1, 1, 3, 3) if name == "wise" else kernel)
        back = weights.integers.reshape(kernel.shape).transpose(np.argsort(first))
        assert back.transpose(order).ravel().tolist() in constants, name
        assert int8.bias(op, weights).integers.tolist() in constants, name


@pytest.mark.parametrize(
    ("limits", "scale", "zero_point"),
    [
        ((0.0, 2.55), 0.01, -128),
        ((-2.55, 0.0), 0.01, 127),
        ((-1.0, 1.0), 2 / 255, 0),
        ((0.0, 255 / 256), 1 / 256, -128),
    ],
)
def test_zero_is_one_of_the_integers(limits, scale, zero_point):
    found = scale_and_zero_point(limits)
    assert found[0] == pytest.approx(scale) and found[1] == zero_point


def test_tied_tensors_have_one_scale_and_a_missing_range_is_named():
    graph = Graph()
    x = graph.input((4, 4, 2))
    graph.concat([graph.simple("relu", [x], "one"), graph.simple("tanh", [x], "two")], "both", 9)
    int8 = Int8(graph, dict.fromkeys(graph.ops, (-1.0, 3.0)))
    assert int8.activation("one") == int8.activation("two") == int8.activation("both")
    with pytest.raises(KeyError, match="image"):
        Int8(graph, {})


def test_weights_of_seven_bits_leave_room_for_a_sum():
    graph = small_graph()
    op = graph.ops["dense"]
    for bits, largest in ((8, 127), (7, 63)):
        weights = Int8(graph, RANGES, bits).kernel(op, op.weights.kernel.T)
        assert np.abs(weights.integers).max() == largest
        error = np.abs(weights.integers * weights.scales - op.weights.kernel.T)
        assert error.max() <= weights.scales * 0.5001


def test_a_bias_beyond_int32_is_clipped():
    graph = Graph()
    kernel, bias = np.full((1, 1), 1e-9, np.float32), np.array([1e9, -1e9], np.float32)
    graph.dense(graph.input((1,)), "dense", Folded(np.repeat(kernel, 2, 1), bias))
    int8 = Int8(graph, {"image": (0.0, 1e-4), "dense": (0.0, 1.0)})
    op = graph.ops["dense"]
    found = int8.bias(op, int8.kernel(op, op.weights.kernel.T)).integers
    assert found.tolist() == [2**31 - 1, -(2**31)]
