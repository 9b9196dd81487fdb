import numpy as np
import pytest

from common.artifact import Artifact
from common.included import included_artifact
from common.tflite.litert import LiteRTModel
from edge.browser.float_edges import input_levels, with_float_edges


@pytest.mark.parametrize("graph", ["deployment", "canonical"])
def test_the_integers_inside_stay_the_same(small_artifact, tmp_path, graph):
    path = small_artifact / f"{graph}_int8_ptq.tflite"
    changed = tmp_path / "float.tflite"
    changed.write_bytes(with_float_edges(path.read_bytes()))
    inner, outer = LiteRTModel(path), LiteRTModel(changed)
    assert outer.input_shape == inner.input_shape and outer.output_shape == inner.output_shape
    integers = np.random.default_rng(0).integers(-128, 128, (4, *inner.input_shape[1:]), np.int8)
    x = inner.inputs[0].dequantize(integers)
    outputs = inner.predict(x)
    assert np.ptp(outputs) > 0
    np.testing.assert_array_equal(outer.predict(x), outputs)


def test_a_float32_file_stays_as_it_is(small_artifact):
    assert with_float_edges((small_artifact / "deployment_float32.tflite").read_bytes()) is None


# Of the first, pixels from -1 to 1 lie between two integers.
@pytest.mark.parametrize("name", ["cifar10", "bccd"])
def test_pixels_arrive_as_the_integers_that_they_are_here(name, tmp_path):
    artifact, file = Artifact.open(included_artifact(name)), "deployment_int8_ptq.tflite"
    changed = tmp_path / "float.tflite"
    changed.write_bytes(with_float_edges(artifact.path(file).read_bytes()))
    inner, outer = artifact.load(file), LiteRTModel(changed)
    images = np.random.default_rng(0).integers(0, 256, (2, *inner.input_shape[1:]), np.uint8)
    levels = input_levels(artifact, file)
    x = levels[images, np.arange(images.shape[-1])]
    np.testing.assert_array_equal(outer.predict(x), inner.predict(artifact.preprocess(images)))
