import numpy as np
import pytest

from common.artifact import Artifact
from common.included import included_artifact
from edge.browser.outputs import average_precision, stored_outputs

INT8 = "deployment_int8_ptq.tflite"


def test_integers_and_ap_of_what_a_page_computed():
    detector = Artifact.open(included_artifact("bccd"))
    images = detector.preprocess(detector.sample_arrays(["images"])[0])
    model = detector.load(INT8)
    outputs = model.predict(images)
    stored = stored_outputs(detector, INT8, outputs)
    scale, zero_point = (detector.files[INT8]["outputs"][0][key] for key in ("scale", "zero_point"))
    assert stored.dtype == np.int8
    np.testing.assert_allclose((stored - np.float32(zero_point)) * scale, outputs, rtol=1e-6)
    expected = detector.decoding.scores(outputs, detector.sample_truths())["ap"]
    assert average_precision(detector, INT8, outputs) == pytest.approx(expected, abs=1e-9)
    assert average_precision(detector, INT8, outputs - 9) < expected


def test_a_classifier_has_no_ap(small_artifact):
    artifact = Artifact.open(small_artifact)
    assert average_precision(artifact, INT8, np.zeros((8, 10), np.float32)) is None
