import keras
import numpy as np
import pytest
import tensorflow as tf

from common.tflite.litert import LiteRTModel
from converters.conversion.tflite import convert_fake_quant
from converters.graph.deployment import deployment_graph
from converters.graph.scales import SAME_SCALE, scale_groups
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import (
    FIXED_RANGES,
    QuantizedEdgeFactor,
    QuantizedWindowAverage,
    SharedRange,
    WeightQuantizer,
    fake_quant_model,
)
from converters.quantization.tfmot_internals import Wrapper
from converters.workdir import calibration_inputs, load_trained
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2, preprocess_input
from trainers.data.pipeline import uint8_images

pytestmark = pytest.mark.medium

COMMON = {
    "input_shape": (32, 32, 3),
    "small_images": True,
    "classes": 5,
    "classifier_activation": None,
}
# Small networks with all kinds of operators: slices and concatenations; additions, an average pool,
# squeeze-and-excitation with its sigmoid and product, grouped convolutions.
NETWORKS = {
    "v2": lambda: ShuffleNetV2(
        0.5, units_per_stage=(1, 3, 1), stage_channels=(16, 24, 32), head_channels=48, **COMMON
    ),
    "v1": lambda: ShuffleNetV1(0.25, 4, units_per_stage=(2, 1, 1), se=True, **COMMON),
}
QUANTIZED_WEIGHTS = {"conv", "depthwise", "dense"}


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def quantized(request):
    """(graph, ranges, model, images) of a random network; do not change the model."""
    keras.utils.set_random_seed(1)
    graph = deployment_graph(NETWORKS[request.param]())
    images = np.random.default_rng(0).uniform(-1, 1, (8, 32, 32, 3)).astype(np.float32)
    ranges = calibrate(graph, images)
    return graph, ranges, fake_quant_model(graph, ranges), images


def quantized_by_hand(w, axes):
    limit = np.abs(w).max(axes, keepdims=True)
    step = limit / 127
    return np.round(w / step) * step


@pytest.mark.parametrize(
    ("shape", "axis", "others"),
    [
        ((3, 3, 4, 6), 3, (0, 1, 2)),  # a convolution
        ((3, 3, 6, 1), 2, (0, 1, 3)),  # a depthwise convolution
        ((6, 5), None, (0, 1)),  # fully connected
    ],
)
def test_weights_are_rounded_as_by_hand(shape, axis, others):
    channels = np.random.default_rng(1).uniform(
        0.01, 100, [n if i == axis else 1 for i, n in enumerate(shape)]
    )
    w = (np.random.default_rng(0).normal(size=shape) * channels).astype(np.float32)
    found = WeightQuantizer(axis)(w, training=True, weights={}).numpy()
    expected = quantized_by_hand(w.astype(np.float64), others)
    limit = np.abs(w).max(others, keepdims=True)
    assert (np.abs(found - expected) / limit).max() < 1e-6
    assert np.abs(found - w).max() > 1e-3  # something was rounded


@pytest.mark.parametrize(("shape", "axis"), [((1, 1, 2, 3), 3), ((3, 3, 2, 1), 2), ((4, 2), None)])
def test_weights_that_are_all_zero_stay_zero(shape, axis):
    zeros = np.zeros(shape, np.float32)
    np.testing.assert_array_equal(WeightQuantizer(axis)(zeros, True, {}), zeros)


def test_an_average_s_constants_are_exact_in_int8():
    kernel = QuantizedWindowAverage("same").kernel(5).numpy()
    assert kernel.shape == (3, 3, 5, 1)
    np.testing.assert_allclose(kernel, 1 / 9, rtol=1e-6)
    # A window of 3 can have 1, 2 or 3 pixels inside the image, in each direction.
    factors = np.array([1, 1.5, 3])
    found = QuantizedEdgeFactor(factors, factors).factors().numpy()
    np.testing.assert_array_equal(found[0, :, :, 0], np.outer(factors, factors))


def test_a_layer_computes_with_its_rounded_weights(quantized):
    graph, ranges, model, images = quantized
    stem = graph.ops["stem"].weights
    kernel = quantized_by_hand(stem.kernel.astype(np.float64), (0, 1, 2)).astype(np.float32)
    low, high = ranges["image"]
    x = tf.quantization.fake_quant_with_min_max_args(images, low, high)
    expected = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + stem.bias)
    tapped = type(model)(model.input, model.get_layer("quant_stem").output)
    np.testing.assert_allclose(tapped(images), expected, atol=1e-5)


def test_tfmot_wraps_what_is_annotated_and_nothing_else(quantized):
    graph, _, model, _ = quantized
    wrapped = {layer.layer.name for layer in model.layers if isinstance(layer, Wrapper)}
    expected = {op.name for op in graph.ops.values() if op.kind in QUANTIZED_WEIGHTS}
    assert wrapped == expected


def test_tensors_of_one_scale_share_one_range(quantized):
    graph, ranges, model, _ = quantized
    groups = scale_groups(graph)
    layers = {layer.name: layer for layer in model.layers if isinstance(layer, SharedRange)}
    for group in set(groups.values()):
        writers = [
            op for op in graph.ops.values() if groups[op.name] == group and not SAME_SCALE[op.kind]
        ]
        expected = FIXED_RANGES.get(writers[0].kind) or ranges[group]
        found = layers.pop(f"{group}_range").get_weights()
        np.testing.assert_array_equal(found, np.float32(expected))
    assert not layers
    minima = [weight.name for weight in model.weights if "minimum" in weight.name]
    assert len(minima) == len(set(minima)) == len(set(groups.values()))


def test_every_quantized_tensor_goes_through_its_range(quantized):
    graph, _, model, _ = quantized
    groups = scale_groups(graph)
    for op in graph.ops.values():
        if SAME_SCALE[op.kind]:
            continue
        layer = model.get_layer(name_in(model, op))
        consumers = {node.outbound_layer for node in layer.outbound_nodes}
        assert [consumer.name for consumer in consumers] == [f"{groups[op.name]}_range"], op.name


def name_in(model, op):
    """The name of the layer whose output is an operator's."""
    names = {layer.name for layer in model.layers}
    candidates = (f"{op.name}_relu", f"quant_{op.name}", op.name)
    return next(name for name in candidates if name in names)


def test_a_missing_range_is_an_error(quantized):
    graph, ranges, _, _ = quantized
    name = scale_groups(graph)["stem"]
    with pytest.raises(KeyError, match=name):
        fake_quant_model(graph, {key: value for key, value in ranges.items() if key != name})


def test_a_step_trains_all_weights_and_no_range_and_reloads_exactly(quantized, tmp_path):
    graph, ranges, _, images = quantized
    model = fake_quant_model(graph, ranges)
    targets = tf.one_hot(np.arange(8) % 5, 5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(
            tf.nn.softmax_cross_entropy_with_logits(targets, model(images, training=True))
        )
    variables = model.trainable_variables
    gradients = tape.gradient(loss, variables)
    weighted = [op for op in graph.ops.values() if op.weights is not None]
    assert len(variables) == 2 * len(weighted)  # each a kernel and a bias
    for variable, gradient in zip(variables, gradients, strict=True):
        assert np.abs(gradient).max() > 0, variable.name
    before = {id(v): v.numpy() for v in model.weights}
    for variable, gradient in zip(variables, gradients, strict=True):
        # A random network's gradients may be below a weight's precision.
        variable.assign_sub(0.1 * gradient / np.abs(gradient).max())
    trained = {id(v) for v in variables}
    for variable in model.weights:
        changed = (before[id(variable)] != variable.numpy()).any()
        assert changed == (id(variable) in trained), variable.name

    logits = model(images, training=False).numpy()
    model.save_weights(tmp_path / "model.weights.h5")
    other = fake_quant_model(graph, ranges)
    assert np.abs(other(images, training=False) - logits).max() > 1e-3
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(images, training=False), logits)


def test_the_converted_file_computes_what_the_simulation_does(trained_workdir, tmp_path):
    trained = load_trained(trained_workdir)
    graph = deployment_graph(trained.model)
    model = fake_quant_model(graph, calibrate(graph, calibration_inputs(trained, 128)))
    path = tmp_path / "int8.tflite"
    path.write_bytes(convert_fake_quant(model))
    images, _ = uint8_images(trained.config, "test", limit=100)
    inputs = preprocess_input(images, mode=trained.config.images.preprocessing)
    simulated = model(inputs, training=False).numpy()
    for reference_kernels in (False, True):
        litert = LiteRTModel(path, reference_kernels=reference_kernels)
        step = litert.output_quantization[0]
        lsb = np.round(np.abs(litert.predict(inputs) - simulated) / step)
        # Each operator's rounding differs by 1 at most; through the layers it grows to 5, mean 1.0.
        assert lsb.max() <= 10 and lsb.mean() < 2
