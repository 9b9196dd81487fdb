"""The scales of an int16x8 file after sharing; tflite_test.py compares its logits with Keras."""

from collections import Counter

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from common.tflite.flatbuffer import operator_code, unpack
from common.tflite.litert import LiteRTModel, LiteRTNetwork
from converters.conversion import tflite
from converters.conversion.int16_scales import share_scales
from converters.graph.deployment import deployment_graph
from converters.graph.emitter import emit
from converters.random_weights import randomize_batch_norms
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2

pytestmark = pytest.mark.medium

L = keras.layers
OPERATOR = schema.BuiltinOperator
INT16 = schema.TensorType.INT16
SMALL = {
    "input_shape": (32, 32, 3),
    "small_images": True,
    "units_per_stage": (3, 1, 1),
    "stem_channels": 8,
    "stage_channels": (16, 32, 64),
    "classes": 5,
    "classifier_activation": None,
}
NETWORKS = {
    "v1": lambda: ShuffleNetV1(groups=2, se=True, padding="symmetric", **SMALL),
    "v2": lambda: ShuffleNetV2(head_channels=32, **SMALL),
}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (16, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def converted(request, images):
    """An int16x8 file as the converter writes it."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[request.param]()
    randomize_batch_norms(model, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite, "share_scales", lambda content: content)
        # The lowering with the most slices: they tie tensors that concatenations do not.
        return tflite.convert_int16(emit(deployment_graph(model, "micro")), images)


def scale(tensor):
    return float(tensor.quantization.scale[0])


def requantizing(model):
    """The QUANTIZE operators between int16 tensors."""
    graph = model.subgraphs[0]
    ends = (
        (operator.inputs[0], operator.outputs[0])
        for operator in graph.operators
        if operator_code(model, operator) == OPERATOR.QUANTIZE
    )
    return [pair for pair in ends if all(graph.tensors[index].type == INT16 for index in pair)]


def test_nothing_is_requantized_and_all_else_stays(converted):
    before, after = unpack(converted), unpack(share_scales(converted))
    assert len(requantizing(before)) >= 3
    assert not requantizing(after)
    counts = [
        Counter(operator_code(model, operator) for operator in model.subgraphs[0].operators)
        for model in (before, after)
    ]
    counts[0][OPERATOR.QUANTIZE] -= len(requantizing(before))
    assert counts[0] == counts[1]


def test_tensors_of_a_concatenation_have_one_scale_none_smaller_than_before(converted):
    before, after = unpack(converted), unpack(share_scales(converted))
    graph = after.subgraphs[0]
    for operator in graph.operators:
        if operator_code(after, operator) == OPERATOR.CONCATENATION:
            tensors = [graph.tensors[index] for index in (*operator.inputs, *operator.outputs)]
            assert len({scale(tensor) for tensor in tensors}) == 1
    for old, new in zip(before.subgraphs[0].tensors, graph.tensors, strict=True):
        if old.type == INT16:
            assert scale(new) >= scale(old)


def test_biases_are_what_they_were_in_their_new_unit(converted):
    before, after = unpack(converted), unpack(share_scales(converted))
    graph = after.subgraphs[0]
    rescaled = 0
    for operator in graph.operators:
        code = operator_code(after, operator)
        if code not in (OPERATOR.CONV_2D, OPERATOR.DEPTHWISE_CONV_2D, OPERATOR.FULLY_CONNECTED):
            continue
        if operator.inputs[2] < 0:  # The converter omits a bias of zeros.
            continue
        (old, old_unit), (new, unit) = (real_bias(model, operator) for model in (before, after))
        # Rounded once more, in the new unit.
        assert (np.abs(new - old) <= 0.5 * unit + 1e-6 * np.abs(old)).all()
        if not np.array_equal(unit, old_unit):
            told = graph.tensors[operator.inputs[2]].quantization.scale
            np.testing.assert_allclose(told, unit, rtol=1e-6)
            rescaled += 1
    assert rescaled >= 1


def real_bias(model, operator):
    """A bias and its unit, the one of the products of input and weights that it is added to."""
    graph = model.subgraphs[0]
    x, weights, bias = operator.inputs
    unit = scale(graph.tensors[x]) * np.float64(graph.tensors[weights].quantization.scale)
    data = np.uint8(model.buffers[graph.tensors[bias].buffer].data).tobytes()
    return np.frombuffer(data, np.int64) * unit, unit


def test_logits_stay_within_a_thousandth_of_their_deviation(converted, images, tmp_path):
    logits = []
    for name, content in {"before": converted, "after": share_scales(converted)}.items():
        (tmp_path / f"{name}.tflite").write_bytes(content)
        logits.append(LiteRTModel(tmp_path / f"{name}.tflite").predict(images))
    assert np.abs(logits[1] - logits[0]).max() <= 1e-3 * logits[0].std()


def test_a_layer_of_two_branches_adds_its_bias_in_the_unit_of_each(tmp_path):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    near = keras.layers.Conv2D(8, 1, activation="relu")(image)
    far = keras.layers.Conv2D(8, 1, kernel_initializer=keras.initializers.RandomNormal(0, 5))(image)
    shared = keras.layers.Conv2D(4, 1, bias_initializer=keras.initializers.RandomNormal(0, 3))
    model = keras.Model(image, keras.layers.Concatenate(axis=1)([shared(near), shared(far)]))
    images = np.random.default_rng(0).uniform(-1, 1, (16, 8, 8, 3)).astype(np.float32)
    content = tflite.convert_int16(emit(deployment_graph(model)), images)
    (tmp_path / "shared.tflite").write_bytes(content)
    found = LiteRTModel(tmp_path / "shared.tflite").predict(images)
    expected = np.asarray(model(images))
    for part in (slice(0, 8), slice(8, 16)):
        error = np.abs(found[:, part] - expected[:, part]).max()
        assert error < 0.05 * expected[:, part].std()


# What the converter refuses, or gives scales of its own, beside a tensor of another scale.
MEETING = {
    "hard_swish": lambda x, y: L.Activation("hard_swish")(x),
    "elu": lambda x, y: L.ELU()(x),
    "maximum": lambda x, y: L.Maximum()([x, y]),
    "minimum": lambda x, y: L.Minimum()([x, y]),
    "sigmoid": lambda x, y: L.Concatenate()(
        [L.MaxPooling2D()(L.Activation("sigmoid")(x)), L.MaxPooling2D()(y)]
    ),
    "tanh": lambda x, y: L.Concatenate()([L.Activation("tanh")(x), y]),
}


def test_operators_that_int16_lacks_and_fixed_scales_that_meet_others(tmp_path):
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 4))
    x, y = (L.Conv2D(4, 1, name=name)(image) for name in "xy")
    y = L.Rescaling(3.0)(y)
    model = keras.Model(image, [add(x, y) for add in MEETING.values()])
    values = np.random.default_rng(0).normal(size=(32, 6, 6, 4)).astype(np.float32)
    path = tmp_path / "net.tflite"
    path.write_bytes(deployment_graph(model).to_tflite("int16x8", values))
    expected = model.predict(values, verbose=0)
    for name, want, got in zip(
        MEETING, expected, LiteRTNetwork(path).predict_all([values]), strict=True
    ):
        assert np.sqrt(np.square(got - want).mean()) < 0.02 * want.std(), name
