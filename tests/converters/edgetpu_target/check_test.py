import dataclasses

import numpy as np
import pytest

from common.tflite.operators import Contents, Operator, Tensor
from converters.conversion import canonical
from converters.conversion.tflite import convert_fake_quant
from converters.edgetpu_target import check as edgetpu_check
from converters.edgetpu_target.check import differences, predict
from converters.edgetpu_target.log import ModelLog, OperatorStatus
from converters.graph.deployment import deployment_graph
from converters.graph.scales import scale_groups
from converters.quantization.fake_quantization import fake_quant_model
from converters.random_weights import randomize_batch_norms
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2

pytestmark = pytest.mark.medium

SMALL = {
    **{"input_shape": (32, 32, 3), "classes": 4, "classifier_activation": None},
    **{"stem_channels": 8, "stage_channels": (16, 32, 64), "units_per_stage": (2, 2, 2)},
}
LOG = ModelLog((), None, None, None, None, None, None, None)


def images(model):
    shape = (4, *model.input_shape[1:])
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def write(path, content):
    path.write_bytes(content)
    return path


def deployed(model, path, io_dtype="int8"):
    randomize_batch_norms(model)
    graph = deployment_graph(model, "edgetpu")
    # The operators do not depend on the ranges.
    ranges = dict.fromkeys(scale_groups(graph).values(), (-1.0, 1.0))
    return write(path, convert_fake_quant(fake_quant_model(graph, ranges), io_dtype))


def usual(model, path):
    return write(path, canonical.convert(model, "int8-ptq", images(model)))


def assert_all_map(prediction):
    count = len(prediction.operators)
    assert count > 20
    assert (prediction.mapped, prediction.certain, prediction.refused) == (count, count, None)
    assert prediction.as_json()["unmapped"] == prediction.as_json()["doubtful"] == []


@pytest.fixture(scope="module")
def v2():
    return ShuffleNetV2(**SMALL, small_images=True)


@pytest.fixture(scope="module")
def v1():
    return ShuffleNetV1(**SMALL, small_images=True, groups=2)


@pytest.mark.slow
def test_our_v2_maps_completely_with_the_bytes_of_a_camera_as_input(v2, tmp_path):
    prediction = predict(deployed(v2, tmp_path / "uint8.tflite", "uint8"))
    assert_all_map(prediction)
    names = [entry.name for entry in prediction.operators]
    assert (names[0], names[-1], names.count("QUANTIZE")) == ("QUANTIZE", "QUANTIZE", 2)


@pytest.mark.slow
def test_our_v1_maps_completely(v1, tmp_path):
    assert_all_map(predict(deployed(v1, tmp_path / "v1.tflite")))


@pytest.mark.slow
def test_float_ends_stay_on_the_cpu_but_strand_nothing(v2, tmp_path):
    prediction = predict(deployed(v2, tmp_path / "float.tflite", "float32"))
    count = len(prediction.operators)
    left = [index for index, entry in enumerate(prediction.operators) if entry.reason]
    assert left == [0, count - 1]
    assert prediction.as_json()["unmapped"] == [
        {"name": name, "version": version, "count": 1, "reason": reason}
        for name, version, reason in (
            ("QUANTIZE", 1, "it works on float32, not on int8"),
            ("DEQUANTIZE", 2, "it is not among the documented operators"),
        )
    ]


def test_the_usual_v2_depends_on_its_transposes(v2, tmp_path):
    prediction = predict(usual(v2, tmp_path / "usual.tflite"))
    (doubt,) = prediction.as_json()["doubtful"]
    assert (doubt["name"], doubt["count"]) == ("TRANSPOSE", 6)
    first = [entry.name for entry in prediction.operators].index("TRANSPOSE")
    assert prediction.certain == first < len(prediction.operators) / 3


def test_the_usual_v1_is_rejected_for_its_grouped_convolutions(v1, tmp_path):
    prediction = predict(usual(v1, tmp_path / "usual.tflite"))
    assert prediction.refused.startswith("CONV_2D has version 6, but compiler 16 reads at most 5")
    assert (prediction.mapped, prediction.certain) == (0, 0)


def tensor(*shape, dtype="int8", fixed=True, scales=1):
    return Tensor(shape, dtype, fixed, scales, 0, None)


IMAGE = tensor(1, 8, 8, 4)


def operator(name, output=IMAGE, version=1, source=IMAGE):
    return Operator(name, version, (source,), (output,), None)


@pytest.fixture
def predicted(monkeypatch):
    """`predicted(operators, constant_bytes)`: the prediction for a file that has them."""

    def check(operators, constant_bytes=100):
        contents = Contents(tuple(operators), (IMAGE,), constant_bytes)
        monkeypatch.setattr(edgetpu_check, "read_operators", lambda path: contents)
        return predict("any.tflite")

    return check


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (tensor(1, 8, 8, 4, fixed=False), "a tensor's size is not constant"),
        (tensor(1, 8, 8, 4, dtype="float32"), "it works on float32, not on int8"),
        (tensor(1, 8, 8, 4, dtype="int16"), "it works on int16, not on int8"),
        (tensor(1, 8, 8, 4, scales=0), "a tensor of int8 is not quantized"),
        (tensor(2, 8, 8, 4), "a tensor of 2x8x8x4 has more than 3 dimensions or a batch"),
        (tensor(1, 8, 8, 2, 4), "a tensor of 1x8x8x2x4 has more than 3 dimensions or a batch"),
        (tensor(1, 1, 8, 8, 4), None),
        (tensor(8, 8, 4), None),
    ],
)
def test_tensors_that_no_operator_may_have(predicted, output, reason):
    assert predicted([operator("ADD", output)]).operators[0].reason == reason


def test_everything_after_an_unmapped_operator_is_stranded(predicted):
    names = ["CONCATENATION", "GATHER", "ADD", "SPLIT_V", "MUL"]
    reasons = [entry.reason for entry in predicted(map(operator, names)).operators]
    unknown = "it is not among the documented operators"
    stranded = "an operator before it does not map, and a file has one Edge TPU part"
    assert reasons == [None, unknown, stranded, unknown, stranded]


def test_a_leading_cast_stays_on_the_cpu_and_strands_nothing(predicted):
    prediction = predicted(map(operator, ["CAST", "ADD", "CAST", "ADD"]))
    unknown = "it is not among the documented operators"
    stranded = "an operator before it does not map, and a file has one Edge TPU part"
    reasons = [entry.reason for entry in prediction.operators]
    assert reasons == [unknown, None, unknown, stranded]


def test_a_doubt_that_comes_true_strands_the_rest(predicted):
    prediction = predicted(map(operator, ["ADD", "ADD", "TRANSPOSE", "ADD"]))
    assert (prediction.mapped, prediction.certain) == (4, 2)


def test_a_version_that_is_too_new_rejects_the_file(predicted):
    prediction = predicted([operator("ADD"), operator("QUANTIZE", version=3)])
    assert prediction.refused == (
        "QUANTIZE has version 3, but compiler 16 reads at most "
        "2 and rejects a file with a newer one"
    )
    assert prediction.mapped == 0


def test_weights_beyond_the_chip_are_streamed(predicted):
    # 8,000,000 bytes: 1,984 weights and 16 more bytes for each of 4,000 outputs.
    weights = dataclasses.replace(tensor(4000, 1984), values=np.zeros(1, np.int8))
    inputs = (tensor(1, 1984), weights)
    full = dataclasses.replace(operator("FULLY_CONNECTED", tensor(1, 4000)), inputs=inputs)
    assert predicted([full]).streamed_bytes == 0
    assert predicted([full, full]).streamed_bytes == 8_000_000


def test_differences_are_reported_by_kind(predicted):
    prediction = predicted(map(operator, ["ADD", "TRANSPOSE", "ADD"]))
    mapped, left = "Mapped to Edge TPU", "More than one subgraph is not supported"
    rows = (
        *(OperatorStatus("ADD", 1, mapped), OperatorStatus("ADD", 1, left)),
        OperatorStatus("TRANSPOSE", 1, mapped),
    )
    assert differences(prediction, dataclasses.replace(LOG, operators=rows)) == [
        "ADD: 2 of 2 predicted to map, the compiler mapped 1 of 2"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize(
    ("build", "arguments"),
    [
        *[(ShuffleNetV2, {"scale": scale}) for scale in (0.5, 1.0, 1.5, 2.0)],
        *[(ShuffleNetV1, {"scale": scale}) for scale in (0.25, 0.5, 1.0, 1.5, 2.0)],
        *[(ShuffleNetV1, {"groups": groups}) for groups in (1, 2, 4, 8)],
    ],
)
def test_every_network_maps_completely_at_224_pixels(build, arguments, padding, tmp_path):
    model = build(
        **arguments, padding=padding, input_shape=(224, 224, 3), classifier_activation=None
    )
    prediction = predict(deployed(model, tmp_path / "model.tflite"))
    assert_all_map(prediction)
    # V2 2x is the only one that does not fit: 7.4 MB of weights are 8.0 to 8.2 MB on the chip.
    largest = build is ShuffleNetV2 and arguments == {"scale": 2.0}
    assert (prediction.streamed_bytes > 0) == largest
