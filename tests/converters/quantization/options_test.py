"""Mixed precision, as the file has it: the types of its tensors, and the scales of its weights."""

import keras
import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

from common.cli import UserError
from converters.conversion.tflite import convert_fake_quant
from converters.graph.deployment import deployment_graph
from converters.quantization.aware import quantization_aware
from converters.quantization.options import QuantizationOptions, apply_options
from keras_shufflenet import ShuffleNetV2

L = keras.layers
SHAPE = (12, 12, 3)


def network():
    """Branches that meet: `left` and `right` share a scale, as a concatenation needs."""
    keras.utils.set_random_seed(0)
    image = keras.Input(SHAPE)
    x = L.ReLU(name="relu")(L.Conv2D(8, 3, padding="same", name="stem")(image))
    left = L.Conv2D(8, 1, name="left")(x)
    right = L.DepthwiseConv2D(3, padding="same", name="right")(x)
    x = L.MaxPooling2D(name="pool")(L.Concatenate(name="join")([left, right]))
    body = keras.Sequential(
        [keras.Input((6, 6, 16)), L.Conv2D(8, 3, name="inner"), L.BatchNormalization(name="bn")],
        name="body",
    )
    x = L.GlobalAveragePooling2D(name="mean")(body(x))
    return keras.Model(image, L.Dense(4, name="head")(x))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(48, *SHAPE)).astype(np.float32)


def operators(content):
    """Returns (name, types of inputs and output without constants' biases) of each operator."""
    interpreter = litert.Interpreter(
        model_content=content,
        num_threads=1,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    tensors = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    return [
        (op["op_name"], [tensors[i] for i in (*op["inputs"], *op["outputs"]) if i in tensors])
        for op in interpreter._get_ops_details()
    ]


def in_float(content):
    """Returns the names of the operators, in order, and of those that compute in float32."""
    borders = {"QUANTIZE", "DEQUANTIZE"}
    found = operators(content)
    names = [name for name, _ in found]
    return names, [
        name
        for name, tensors in found
        if name not in borders and any(tensor["dtype"] == np.float32 for tensor in tensors)
    ]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("layers", "expected", "borders"),
    [
        # Alone between int8 operators, of which one has a scale that it shared.
        (["left"], ["CONV_2D"], 2),
        (["left", "right", "join"], ["CONV_2D", "DEPTHWISE_CONV_2D", "CONCATENATION"], 2),
        # What only moves values is in float32 where its inputs are.
        (["pool", "join"], [], 0),
        (["body"], ["CONV_2D"], 2),
        (["mean"], ["MEAN"], 2),
        (["bn", "mean", "head"], ["CONV_2D", "MEAN", "FULLY_CONNECTED"], 1),
    ],
)
def test_only_the_layers_that_are_named_compute_in_float(images, layers, expected, borders):
    model = network()
    options = QuantizationOptions(keep_float=layers)
    aware = quantization_aware(model, images, ranges="minmax", options=options)
    content = convert_fake_quant(aware)
    names, floats = in_float(content)
    assert floats == expected
    assert names.count("QUANTIZE") + names.count("DEQUANTIZE") == borders
    interpreter = litert.Interpreter(model_content=content, num_threads=1)
    (output,) = interpreter.get_output_details()
    assert output["dtype"] == (np.float32 if "head" in layers else np.int8)
    simulated, exact = aware(images), np.asarray(model(images))
    assert 0 < np.abs(simulated - exact).max() < 0.1 * exact.std()


@pytest.mark.medium
def test_weights_have_one_scale_where_it_is_wished(images):
    options = QuantizationOptions(per_tensor=["left", "right"])
    content = convert_fake_quant(quantization_aware(network(), images, options=options))
    scales = {
        tuple(tensors[1]["shape"]): len(tensors[1]["quantization_parameters"]["scales"])
        for name, tensors in operators(content)
        if "CONV" in name
    }
    assert scales == {(8, 3, 3, 3): 8, (8, 1, 1, 8): 1, (1, 3, 3, 8): 1, (8, 3, 3, 16): 8}


def layers_of(model, *names):
    """The operators that `keep_float` reaches, without those at the borders."""
    graph = apply_options(deployment_graph(model), QuantizationOptions(keep_float=names))
    return [op.name for op in graph.ops.values() if op.is_float and op.layers]


def test_a_unit_of_a_stage_has_its_own_operators():
    model = ShuffleNetV2(0.5, input_shape=(32, 32, 3), small_images=True, classes=3)
    found = layers_of(model, "stage2_unit2")
    assert found and all(name.startswith("stage2_unit2_") for name in found)
    assert layers_of(model, "head_conv") == layers_of(model, "head_bn") == ["head"]


def test_calls_of_one_layer_in_two_precisions_share_no_weights():
    image = keras.Input(SHAPE)
    head = L.Conv2D(5, 1, name="head")
    outputs = [L.Activation("relu", name=name)(head(x)) for name, x in (("a", image), ("b", image))]
    graph = deployment_graph(keras.Model(image, outputs))
    assert graph.ops["head_call2"].shares == "head"
    both = apply_options(graph, QuantizationOptions(keep_float=["head"]))
    assert both.ops["head_call2"].shares == "head"
    one = apply_options(graph, QuantizationOptions(keep_float=["b"]))
    assert [op.layers for op in one.ops.values() if op.is_float and op.layers] == [("head", "b")]
    assert one.ops["head_call2"].shares is None


def test_names_without_an_operator_are_named():
    graph = deployment_graph(network())
    with pytest.raises(UserError, match=r"`keep_float` names the layer 'haed'.*: head$"):
        apply_options(graph, QuantizationOptions(keep_float=["haed"]))
    with pytest.raises(UserError, match=r"`per_tensor` names the layer 'head'.*: stem"):
        apply_options(graph, QuantizationOptions(per_tensor=["head"]))
    with pytest.raises(TypeError, match="`keep_float` must be a list"):
        QuantizationOptions(keep_float="head")
