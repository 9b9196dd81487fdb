import numpy as np
import pytest
import tensorflow as tf

from converters.graph.emitter import GroupedPointwise, emit
from converters.graph.kernels import dense_kernel, window_factors
from converters.graph.operations import Graph
from converters.graph.operator import Folded
from converters.graph.scales import scale_groups
from keras_shufflenet.permutations import PermutedTensor


def _folded(inputs, outputs, seed=0):
    rng = np.random.default_rng(seed)
    return Folded(rng.normal(size=(1, 1, inputs, outputs)), rng.normal(size=outputs))


def test_convolution_absorbs_the_order_of_its_input_and_writes_the_order_asked_for():
    folded = _folded(4, 3)
    graph = Graph()
    image = graph.input((1, 1, 4))
    x = np.array([5.0, 6.0, 7.0, 8.0])
    order = np.array([2, 0, 3, 1])
    permuted = PermutedTensor(image.tensor, order)
    made = graph.conv(permuted, "conv", folded, order=np.array([1, 2, 0]))

    weights = graph.ops["conv"].weights
    # The tensor holds logical channel order[p] at position p.
    result = x[order] @ weights.kernel[0, 0] + weights.bias
    assert made.order.tolist() == [1, 2, 0]
    np.testing.assert_allclose(result, (x @ folded.kernel[0, 0] + folded.bias)[[1, 2, 0]])


def test_grouped_convolution_accepts_only_orders_within_its_groups():
    rng = np.random.default_rng(0)
    folded = Folded(rng.normal(size=(1, 1, 2, 6)), np.zeros(6))
    whole = dense_kernel(folded.kernel, 2)[0, 0]
    x = rng.normal(size=4)
    order, outputs = np.array([1, 0, 2, 3]), np.array([2, 1, 0, 5, 4, 3])
    graph = Graph()
    graph.input((1, 1, 4))
    graph.conv(PermutedTensor("image", order), "conv", folded, groups=2, order=outputs)
    kernel = dense_kernel(graph.ops["conv"].weights.kernel, 2)[0, 0]
    np.testing.assert_allclose(x[order] @ kernel, (x @ whole)[outputs])

    with pytest.raises(ValueError, match="crosses its groups"):
        crossing = PermutedTensor("image", np.array([0, 2, 1, 3]))
        graph.conv(crossing, "crossing", folded, groups=2)


def test_concatenation_is_nested_to_the_limit_and_keeps_the_order():
    graph = Graph()
    graph.input((1, 1, 1))
    pieces = [PermutedTensor("image", np.array([index])) for index in range(9)]
    whole = graph.concat(pieces, "all", most=4)
    assert whole.order.tolist() == list(range(9))
    concatenations = [op for op in graph.ops.values() if op.kind == "concat"]
    assert max(len(op.inputs) for op in concatenations) == 4
    assert graph.concat(pieces[:1], "one", most=4) is pieces[0]


def test_transpose_is_the_papers_shuffle():
    graph = Graph()
    x = graph.input((1, 1, 6))
    assert graph.transpose(x, "shuffle", 2).order.tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("extent", [*range(1, 10), 56])
def test_window_factors_are_three_by_the_pixels_inside(extent):
    inside = tf.nn.conv1d(tf.ones((1, extent, 1)), tf.ones((3, 1, 1)), 2, "SAME").numpy().ravel()
    np.testing.assert_allclose(window_factors(extent), 3 / inside, rtol=1e-6)


def depthwise_average(shape, padding):
    graph = Graph()
    x = graph.input(shape)
    if padding == "valid":
        x = graph.pad(x, "pad")
    return graph, graph.depthwise_average(x, "average", padding)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("shape", [(8, 8, 3), (7, 10, 2), (1, 2, 4), (3, 1, 1)])
def test_depthwise_average_is_the_average_pool(shape, padding):
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    if padding == "valid":
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        expected = tf.nn.avg_pool(padded, 3, 2, "VALID")
    else:
        expected = tf.nn.avg_pool(x, 3, 2, "SAME")
    graph, average = depthwise_average(shape, padding)
    np.testing.assert_allclose(emit(graph)(x), expected, atol=1e-6)
    assert average.channels == shape[-1]


def test_depthwise_average_leaves_its_input_s_scale_and_corrects_edges_in_one():
    graph, _ = depthwise_average((8, 8, 4), "same")
    assert list(graph.ops) == ["image", "average", "average_edges"]
    scales = scale_groups(graph)
    assert scales["average"] == scales["average_edges"] != scales["image"]


def test_explicit_zeros_leave_nothing_to_correct():
    graph, _ = depthwise_average((8, 8, 4), "valid")
    assert list(graph.ops) == ["image", "pad", "average"]


def test_shapes_follow_strides_and_pads():
    graph = Graph()
    x = graph.conv(graph.input((37, 44, 2)), "conv", _folded(2, 2), stride=2)
    x = graph.pool(graph.pad(x, "pad"), "pool", "max_pool", "valid")
    assert graph.shape(x) == (10, 11, 2)


def test_a_second_operator_of_one_name_gets_another():
    graph = Graph()
    x = graph.input((1, 1, 6))
    names = [graph.simple("sigmoid", [x], "gate").tensor for _ in range(2)]
    assert names == ["gate", "gate_"]


def test_tensors_that_meet_in_a_concatenation_share_a_scale():
    graph = Graph()
    x = graph.input((8, 8, 4))
    left = graph.conv(x, "left", _folded(4, 4))
    right = graph.conv(x, "right", _folded(4, 4))
    piece = graph.slice(right, "piece", 0, 2)
    graph.concat([left, piece], "joined", most=4)
    graph.conv(PermutedTensor("joined", np.arange(4)), "next", _folded(4, 4))

    scales = scale_groups(graph)
    assert scales["left"] == scales["right"] == scales["piece"] == scales["joined"]
    assert len({scales["image"], scales["left"], scales["next"]}) == 3


@pytest.mark.parametrize(("channels", "filters", "groups"), [(12, 6, 3), (8, 16, 8)])
def test_a_grouped_convolution_trains_as_it_infers(channels, filters, groups):
    layer = GroupedPointwise(filters, 1, groups=groups, activation="relu")
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 5, channels)), tf.float32)
    layer.build(x.shape)
    layer.bias.assign(np.linspace(-1, 1, filters))
    results = []
    for training in (False, True):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=training) ** 2)
        results.append([loss, *tape.gradient(loss, layer.trainable_variables)])
    for inferred, trained in zip(*results, strict=True):
        np.testing.assert_allclose(trained, inferred, rtol=1e-4, atol=1e-5)
