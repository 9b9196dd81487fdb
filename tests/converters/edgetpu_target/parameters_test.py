"""Against files as Google's compiler wrote them, from google-coral/test_data."""

from pathlib import Path

import pytest

from common.tflite.operators import read_operators
from converters.edgetpu_target.check import predict
from converters.edgetpu_target.parameters import parameter_bytes, read_compiled

PAIRS = Path(__file__).resolve().parents[4] / "shared/fixtures/edgetpu_pairs"
# The bytes of weights in the compiled file, kept on the chip and streamed.
FOUND = {
    "mobilenet_v1_0.25_128_quant": (566_912, 0),
    "mobilenet_v1_0.5_160_quant": (1_473_280, 0),
    "deeplabv3_mnv2_dm05_pascal_quant": (766_720, 0),
    "keras_lstm_mnist_ptq": (43_968, 576),
}
CONVOLUTIONAL = [name for name in FOUND if "lstm" not in name]

pytestmark = pytest.mark.skipif(not PAIRS.is_dir(), reason=f"{PAIRS} is not there")


def left_to_the_cpu(name):
    """The number of operators beside the Edge TPU's part of the compiled file."""
    return len(read_operators(PAIRS / f"{name}_edgetpu.tflite").operators) - 1


@pytest.mark.parametrize(("name", "found"), FOUND.items())
def test_cached_and_streamed_bytes_are_read_from_a_compiled_file(name, found):
    assert read_compiled(PAIRS / f"{name}_edgetpu.tflite") == found


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_the_estimate_is_within_two_percent(name):
    operators = read_operators(PAIRS / f"{name}.tflite").operators
    mapped = operators[: len(operators) - left_to_the_cpu(name)]
    estimate = sum(map(parameter_bytes, mapped))
    assert estimate == pytest.approx(FOUND[name][0], rel=0.02)
    # The weights alone are no estimate.
    assert sum(x.values.nbytes for one in mapped for x in one.inputs if x.values is not None) < (
        0.96 * FOUND[name][0]
    )


@pytest.mark.parametrize("name", FOUND)
def test_what_is_predicted_to_map_is_what_the_compiler_mapped(name):
    prediction = predict(PAIRS / f"{name}.tflite")
    assert prediction.certain == len(prediction.operators) - left_to_the_cpu(name)
    assert prediction.streamed_bytes == 0


def test_other_files_have_no_parameters_to_read(tmp_path):
    name = "mobilenet_v1_0.25_128_quant"
    assert read_compiled(PAIRS / f"{name}.tflite") is None
    path = tmp_path / "damaged.tflite"
    content = (PAIRS / f"{name}_edgetpu.tflite").read_bytes()
    for damaged in (b"", content[:1000], content.replace(b"DWN1", b"DWN2")):
        path.write_bytes(damaged)
        assert read_compiled(path) is None
