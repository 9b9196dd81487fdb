"""Every layer that has a rule, in int8: its file's operators, and how near it is to float."""

import runpy
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from common.cli import UserError
from common.tflite.flatbuffer import operator_code, unpack
from converters.conversion.tflite import convert_fake_quant
from converters.quantization.aware import quantization_aware
from converters.quantization.options import QuantizationOptions

pytestmark = pytest.mark.medium

L = keras.layers
# The table of layers that the graph's tests have, too.
WALK = runpy.run_path(str(Path(__file__).parents[1] / "graph/walk_test.py"))
LAYERS, SHAPE = WALK["LAYERS"], WALK["SHAPE"]
# One conversion takes longer than the layers in it.
GROUPS = [list(LAYERS)[start::4] for start in range(4)]
IMAGES = 64
# The largest difference from float, in steps of the output's int8 scale. Measured: 6.6 (separable
# with tanh, three operators), 4.7 (dense on pixels), 4.4 (hard_silu); the others 4.2 and less.
BOUND = 8


def network(names):
    """A convolution, and after it each of the layers by itself: an output a layer."""
    keras.utils.set_random_seed(0)
    image = keras.Input(SHAPE)
    x = L.Conv2D(SHAPE[-1], 3, padding="same", name="first")(image)
    return WALK["randomize"](keras.Model(image, [LAYERS[name]()(x) for name in names]))


def run(content, images):
    """Returns each output of an int8 file for the images, as real numbers, and its scale."""
    interpreter = litert.Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    scale, zero = source["quantization"]
    found = [[] for _ in interpreter.get_output_details()]
    for image in images:
        raw = np.clip(np.rint(image / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], raw[np.newaxis])
        interpreter.invoke()
        for values, detail in zip(found, interpreter.get_output_details(), strict=True):
            step, offset = detail["quantization"]
            values.append(
                (interpreter.get_tensor(detail["index"])[0].astype(float) - offset) * step
            )
    scales = [detail["quantization"][0] for detail in interpreter.get_output_details()]
    return [np.stack(values) for values in found], scales


@pytest.mark.parametrize("names", GROUPS, ids=[group[0] for group in GROUPS])
def test_each_layer_is_integer_and_near_float(names):
    model = network(names)
    images = np.random.default_rng(0).normal(size=(IMAGES, *SHAPE)).astype(np.float32)
    content = convert_fake_quant(quantization_aware(model, images, ranges="minmax"))
    file = unpack(content)
    (graph,) = file.subgraphs
    codes = {operator_code(file, operator) for operator in graph.operators}
    assert not codes & {schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE}
    kinds = {tensor.type for tensor in graph.tensors}
    assert kinds <= {schema.TensorType.INT8, schema.TensorType.INT32}
    expected = model(images[:16], training=False)
    outputs, scales = run(content, images[:16])
    steps = {
        name: np.abs(values - theirs).max() / scale
        for name, theirs, values, scale in zip(
            names, map(np.asarray, expected), outputs, scales, strict=True
        )
    }
    assert max(steps.values()) <= BOUND, steps


def test_fixed_scales_that_meet_others_are_requantized_once_and_clip_nothing():
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 4))
    x, y = (L.Conv2D(4, 1, name=name)(image) for name in "xy")
    boxes = L.Rescaling(5.0)(y)
    heads = [
        L.Concatenate()([L.Activation("sigmoid")(x), boxes]),
        L.Concatenate()([boxes, L.MaxPooling2D(1)(L.Activation("tanh")(x)), image]),
        # Of one scale: nothing to change.
        L.Concatenate()([L.Activation("sigmoid")(y), L.Softmax()(y)]),
    ]
    model = keras.Model(image, heads)
    images = np.random.default_rng(0).uniform(-1, 1, (IMAGES, 6, 6, 4)).astype(np.float32)
    content = convert_fake_quant(quantization_aware(model, images, ranges="minmax", pixels=(-1, 1)))
    file = unpack(content)
    codes = [operator_code(file, operator) for operator in file.subgraphs[0].operators]
    assert codes.count(schema.BuiltinOperator.QUANTIZE) == 3
    assert schema.BuiltinOperator.DEQUANTIZE not in codes
    outputs, scales = run(content, images[:8])
    expected = model(images[:8], training=False)
    for theirs, mine, scale in zip(expected, outputs, scales, strict=True):
        assert np.abs(np.asarray(theirs) - mine).max() <= BOUND * scale


def test_a_layer_may_have_the_name_of_anothers_range():
    image = keras.Input((6, 6, 4))
    x = L.Conv2D(4, 1, name="a_range")(L.Conv2D(4, 1, name="a")(image))
    images = np.random.default_rng(0).uniform(-1, 1, (8, 6, 6, 4)).astype(np.float32)
    model = keras.Model(image, x)
    (found,), (scale,) = run(convert_fake_quant(quantization_aware(model, images)), images)
    assert np.abs(np.asarray(model(images)) - found).max() <= BOUND * scale


@pytest.mark.parametrize("io_dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("keep_float", [(), ("boxes",)])
def test_an_output_may_also_be_read_inside(io_dtype, keep_float):
    """TFLiteConverter alone would remove what the readers take."""
    image = keras.Input((4, 4, 3))
    x = L.Conv2D(3, 1)(image)
    scores = L.Activation("sigmoid", name="scores")(x)
    joined = L.Concatenate()([scores, image, L.Conv2D(2, 1, name="boxes")(x)])
    # An input that is an output cannot be uint8: the converter loses its QUANTIZE.
    outputs = [x, joined, scores] + [image] * (io_dtype != "uint8")
    model = keras.Model(image, outputs)
    images = np.random.default_rng(0).uniform(-1, 1, (IMAGES, 4, 4, 3)).astype(np.float32)
    options = QuantizationOptions(keep_float=keep_float)
    content = convert_fake_quant(quantization_aware(model, images, options=options), io_dtype)
    interpreter = litert.Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    scale, zero = source["quantization"]
    raw = np.rint(images[:1] / scale) + zero if scale else images[:1]
    interpreter.set_tensor(source["index"], raw.astype(source["dtype"]))
    interpreter.invoke()
    for theirs, detail in zip(model(images[:1]), interpreter.get_output_details(), strict=True):
        assert detail["dtype"] == np.dtype(io_dtype)
        scale, zero = detail["quantization"]
        found = interpreter.get_tensor(detail["index"]).astype(float)
        found = (found - zero) * scale if scale else found
        assert np.abs(np.asarray(theirs) - found).max() <= 0.1


def test_a_uint8_input_that_is_an_output_is_refused():
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, [image, L.ReLU()(image)])
    images = np.random.default_rng(0).uniform(-1, 1, (8, 4, 4, 3)).astype(np.float32)
    aware = quantization_aware(model, images)
    with pytest.raises(UserError, match="uint8 input is an output"):
        convert_fake_quant(aware, "uint8")


@pytest.mark.parametrize("layer", [L.ReLU, L.Flatten], ids=["relu", "flatten"])
def test_a_network_without_weights_becomes_int8(layer):
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, layer()(image))
    images = np.random.default_rng(0).uniform(-1, 1, (8, 4, 4, 3)).astype(np.float32)
    (found,), (scale,) = run(convert_fake_quant(quantization_aware(model, images)), images)
    assert np.abs(np.asarray(model(images)) - found).max() <= BOUND * scale
