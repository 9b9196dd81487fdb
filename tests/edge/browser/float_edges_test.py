import numpy as np
import pytest

from common.tflite.litert import LiteRTModel
from edge.browser.float_edges import with_float_edges


@pytest.mark.parametrize("graph", ["deployment", "canonical"])
def test_the_integers_inside_stay_the_same(small_artifact, tmp_path, graph):
    path = small_artifact / f"{graph}_int8_ptq.tflite"
    changed = tmp_path / "float.tflite"
    changed.write_bytes(with_float_edges(path.read_bytes()))
    inner, outer = LiteRTModel(path), LiteRTModel(changed)
    assert outer.input_shape == inner.input_shape and outer.output_shape == inner.output_shape
    x = np.random.default_rng(0).uniform(-1, 1, (4, *inner.input_shape[1:])).astype(np.float32)
    outputs = inner.predict(x)
    assert np.ptp(outputs) > 0
    np.testing.assert_array_equal(outer.predict(x), outputs)


def test_a_float32_file_stays_as_it_is(small_artifact):
    assert with_float_edges((small_artifact / "deployment_float32.tflite").read_bytes()) is None
