import numpy as np
import pytest

from common.cli import UserError
from converters.conversion.check import (
    BOUNDS,
    Agreement,
    check_agreement,
    check_outputs,
    disagreement,
    measure_agreement,
)


def logits(images=64, classes=10):
    return np.random.default_rng(0).normal(0, 3, (images, classes)).astype(np.float32)


def test_a_known_difference_gives_known_numbers():
    expected = np.array([[1.0, -1.0], [-1.0, 1.0]])  # Standard deviation 1.
    actual = expected + np.array([[0.4, 0.0], [2.2, 0.0]])
    found = measure_agreement(expected, actual)
    assert found.max == pytest.approx(2.2)
    assert found.rms == pytest.approx(np.sqrt((0.16 + 4.84) / 4))
    assert (found.argmax, found.images) == (0.5, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_logit_has_its_own_error(bad):
    actual = logits()
    actual[63, 9] = bad
    with pytest.raises(UserError, match="converted file gives NaN or infinite"):
        measure_agreement(logits(), actual)
    with pytest.raises(UserError, match="Keras model gives NaN or infinite"):
        measure_agreement(actual, logits())


def test_constant_logits_are_rejected():
    with pytest.raises(UserError, match="equal logits"):
        measure_agreement(np.ones((64, 10)), np.ones((64, 10)))


@pytest.mark.parametrize("quantization", BOUNDS)
def test_equal_logits_keep_every_bound(quantization):
    check_agreement(measure_agreement(logits(), logits()), BOUNDS[quantization], "model.tflite")


# The relative error of the logits that each bound must reject.
@pytest.mark.parametrize(
    ("quantization", "error"),
    [
        *(("none", 1e-3), ("float16", 0.05), ("dynamic", 0.1), ("int16x8", 0.1)),
        *(("int8-ptq", 0.5), ("int8-qat", 0.5)),
    ],
)
def test_larger_errors_break_the_bound(quantization, error):
    noise = np.random.default_rng(1).normal(0, 3 * error, (64, 10))
    found = measure_agreement(logits(), logits() + noise)
    with pytest.raises(UserError, match=r"model.tflite does not .* 64 images.*rms .*at most"):
        check_agreement(found, BOUNDS[quantization], "model.tflite")


def test_swapped_classes_break_every_bound():
    found = measure_agreement(logits(), logits()[:, ::-1])
    for bound in BOUNDS.values():
        with pytest.raises(UserError, match="arg-max agreement"):
            check_agreement(found, bound, "model.tflite")


def test_each_number_is_checked_alone():
    good = Agreement(max=0, rms=0, argmax=1, images=64)
    for change in ({"max": 3.0}, {"rms": 1.0}, {"argmax": 0.5}):
        with pytest.raises(UserError):
            check_agreement(
                Agreement(**{**vars(good), **change}), BOUNDS["int8-ptq"], "model.tflite"
            )


@pytest.mark.parametrize("quantization", ["int8-ptq", "int16x8", "onnx-int8"])
def test_two_percent_of_images_unlike_the_calibration_are_a_warning(quantization):
    expected = logits(images=300)
    actual = expected.copy()
    actual[:6, 3] += 12  # 4 standard deviations: as far as a clipped logit may be.
    warning = check_outputs(expected, actual, quantization, "model.tflite")
    assert "for up to 6 of 300 images" in warning and "--calibration_images" in warning
    assert check_outputs(expected, expected, quantization, "model.tflite") is None
    actual[6, 3] += 12
    with pytest.raises(UserError, match=r"294 images.*max [34]"):
        check_outputs(expected, actual, quantization, "model.tflite")


def test_no_image_may_differ_in_a_file_that_does_not_clip():
    actual = logits(images=300)
    actual[0, 3] += 12
    with pytest.raises(UserError, match=r"300 images.*max [34]"):
        check_outputs(logits(images=300), actual, "none", "model.tflite")


def test_what_is_out_of_bounds_in_int8_has_remedies():
    bad = Agreement(max=1.0, rms=0.5, argmax=0.9, images=64)
    with pytest.raises(UserError, match=r"rms 0\.5 .*--calibration_images.*--ranges"):
        check_agreement(bad, BOUNDS["int8-ptq"], "model.tflite")


@pytest.mark.parametrize("quantization", ["int8-ptq", "int8-qat"])
def test_two_percent_of_other_classes_are_a_warning_with_remedies(quantization):
    few, many = (Agreement(max=0.5, rms=0.1, argmax=x, images=200) for x in (0.985, 0.98))
    check_agreement(many, BOUNDS[quantization], "model.tflite")
    assert disagreement(few, quantization, "model.tflite") is None
    warning = disagreement(many, quantization, "model.tflite")
    assert warning.startswith("model.tflite: 2.0% of 200 images get another class than from the K")
    for remedy in ("--ranges=", "shufflenet quantize", "shufflenet layer-error"):
        assert remedy in warning


def test_only_int8_files_are_warned_about():
    found = Agreement(max=0.01, rms=0.001, argmax=0.96, images=64)
    assert disagreement(found, "float16", "model.tflite") is None
