"""Checks, before a .tflite file is kept, that it computes what the Keras model computes."""

from dataclasses import dataclass

import numpy as np

from common.cli import UserError
from common.comparison import relative_errors

# The number of real images to compare, or all if the evaluation split has fewer.
CHECK_IMAGES = 64
# The share of the images, those with the largest errors, that may break the limits of a calibrated
# file: images unlike those of the calibration are clipped, however good the file is.
ODD_SHARE = 0.02

# How much a file's average precision may be below the Keras model's, by quantization: the files
# that compute in float differ by rounding alone, which may order two boxes the other way.
PRECISION_BOUNDS = {
    "none": 0.01,
    "float16": 0.02,
    "dynamic": 0.05,
    "int8-ptq": 0.15,
    "int8-qat": 0.15,
    "int16x8": 0.03,
}
PRECISION_BOUNDS |= {"onnx": PRECISION_BOUNDS["none"], "onnx-int8": PRECISION_BOUNDS["int8-ptq"]}
# Files that lose this much, or more, are kept with a warning.
WARN_PRECISION_FROM = 0.02


@dataclass(frozen=True)
class Agreement:
    """How close two sets of outputs are; errors in standard deviations of the float outputs.

    Attributes:
      max: the largest absolute difference of a logit, or of another output.
      rms: the root of the mean squared difference.
      argmax: the share of images with the same top class; None for outputs that are no logits.
      images: the number of images compared.
    """

    max: float
    rms: float
    argmax: float | None
    images: int


@dataclass(frozen=True)
class Bound:
    """The limits of an agreement: the highest `max` and `rms`, the lowest `argmax`."""

    max: float
    rms: float
    argmax: float


# By quantization. Measured on digits with V1 0.25x g=4, V2 0.5x and a V2 of 16/32/64 channels,
# each after 1 and after 8 epochs; the worst values of max / rms / argmax:
#   none      1.3e-5 / 2.7e-6 / 100%
#   float16   0.033  / 0.0078 / 100%
#   dynamic   0.078  / 0.018  / 99.7%
#   int8-ptq  1.25   / 0.23   / 82% (the small V2, half trained; the others 0.43 / 0.098 / 99.3%)
# and with the V2 0.5x after 15 epochs:
#   int16x8   0.13   / 0.014  / 100%
#   int8-qat  0.15   / 0.037  / 100%; more training moves the logits from the Keras model's, so its
#             file is compared with the trained graph, within int8-ptq's limits
# The logits of an unrelated network differ by an rms of 1.4.
BOUNDS: dict[str, Bound] = {
    "none": Bound(max=2e-4, rms=5e-5, argmax=0.98),
    "float16": Bound(max=0.1, rms=0.025, argmax=0.95),
    "dynamic": Bound(max=0.25, rms=0.06, argmax=0.95),
    "int8-ptq": Bound(max=2.0, rms=0.4, argmax=0.75),
    "int8-qat": Bound(max=2.0, rms=0.4, argmax=0.75),
    "int16x8": Bound(max=0.4, rms=0.06, argmax=0.95),
}
# ONNX files compute in ONNX Runtime what the .tflite files compute.
BOUNDS |= {"onnx": BOUNDS["none"], "onnx-int8": BOUNDS["int8-ptq"]}
# Integer files with this share of other top classes, or more, are kept with a warning.
WARN_FROM = 0.02
_WARNED = ("int8-ptq", "int8-qat", "onnx-int8")
_REMEDIES = (
    ". Calibrate with more images (--calibration_images), try other ranges (--ranges=minmax or "
    "percentile), or train it quantized"
)
# Files with ranges of activations, which clip.
_CLIPPING = (*_WARNED, "int16x8")


def measure_agreement(
    expected: np.ndarray, actual: np.ndarray, output: str | None = None
) -> Agreement:
    """Compares logits, or another output, with those of the float model.

    Args:
      expected: float logits [images, classes] of the Keras model.
      actual: logits of the same images from the converted file.
      output: the name of an output [images, ...] that is no logits; None: these are logits.

    Raises:
      UserError: a logit is NaN or infinite, or the float logits are all equal.

    Examples:
      >>> measure_agreement(model.predict(x), LiteRTModel(path).predict(x)).argmax
      0.997
    """
    what = "logits" if output is None else f"values of output {output!r}"
    if not np.isfinite(expected).all():
        raise UserError(f"the Keras model gives NaN or infinite {what}; train it again")
    if not np.isfinite(actual).all():
        raise UserError(
            f"the converted file gives NaN or infinite {what}; the Keras model does not"
        )
    if float(expected.std()) == 0:
        remedy = "train it first" if output is None else "check it with other examples"
        raise UserError(f"the Keras model gives equal {what} for all images; {remedy}")
    top = None
    if output is None:
        top = float((expected.argmax(axis=-1) == actual.argmax(axis=-1)).mean())
    return Agreement(**relative_errors(expected, actual), argmax=top, images=len(expected))


def check_outputs(
    expected: np.ndarray,
    actual: np.ndarray,
    quantization: str,
    name: str,
    output: str | None = None,
) -> str | None:
    """Checks that a file's outputs are within the bounds of its kind.

    Args:
      expected, actual, output: see `measure_agreement`.
      quantization: a key of `BOUNDS`.
      name: the file's name.

    Returns:
      One line if the file is within them but for a few images unlike those of the calibration
      (`ODD_SHARE`); else None.

    Raises:
      UserError: it is not; the message has the numbers.

    Examples:
      >>> check_outputs(expected, actual, "int8-ptq", "x.tflite")
      'x.tflite: 1 of 300 images gives outputs up to 3.3 standard deviations from the Keras …'
    """
    whole, bound = measure_agreement(expected, actual, output), BOUNDS[quantization]
    odd = int(len(expected) * ODD_SHARE)
    if quantization not in _CLIPPING or not odd or not _broken(whole, bound):
        check_agreement(whole, bound, name)
        return None
    errors = np.abs(expected - actual).reshape(len(expected), -1).max(axis=1)
    kept = np.sort(np.argsort(errors)[:-odd])
    check_agreement(measure_agreement(expected[kept], actual[kept], output), bound, name)
    return (
        f"{name}: for up to {odd} of {len(expected)} images the outputs are far from the Keras "
        f"model's, by at most {whole.max:.2g} standard deviations: they are unlike the images of "
        "the calibration; calibrate with more (--calibration_images)"
    )


def check_agreement(agreement: Agreement, bound: Bound, name: str) -> None:
    """Raises UserError with the file's name and the numbers if the agreement is out of bounds."""
    if broken := _broken(agreement, bound):
        what = "logits" if agreement.argmax is not None else "outputs"
        raise UserError(
            f"{name} does not compute what the Keras model computes on {agreement.images} images, "
            f"in standard deviations of the {what}: {', '.join(broken)}; nothing was written"
            f"{_REMEDIES if bound.max > 1 else ''}"
        )


def _broken(agreement: Agreement, bound: Bound) -> list[str]:
    """Returns the numbers that are out of bounds, in words."""
    # An output that is no logits may have millions of values, such as a map of pixels, and int8
    # clips a few: their largest error says little.
    keys = ("rms",) if agreement.argmax is None and bound.max > 1 else ("max", "rms")
    broken = [
        f"{key} {getattr(agreement, key):.3g} (at most {getattr(bound, key):g})"
        for key in keys
        if getattr(agreement, key) > getattr(bound, key)
    ]
    if agreement.argmax is not None and agreement.argmax < bound.argmax:
        broken.append(f"arg-max agreement {agreement.argmax:.1%} (at least {bound.argmax:.0%})")
    return broken


def disagreement(agreement: Agreement, quantization: str, name: str) -> str | None:
    """Returns a warning with its remedies if an int8 file changes the class of many images.

    Args:
      agreement: with the Keras model, within its bound.
      quantization: a key of `BOUNDS`.
      name: the file's name.

    Returns:
      One line; None for other files and outputs, and for fewer than `WARN_FROM` of the images.

    Examples:
      >>> disagreement(Agreement(max=0.9, rms=0.2, argmax=0.98, images=100), "int8-ptq", "x.tflite")
      'x.tflite: 2.0% of 100 images get another class than from the Keras model; …'
    """
    if quantization not in _WARNED or agreement.argmax is None:
        return None
    share = 1 - agreement.argmax
    # Rounded, because 1 - 0.98 is a little more than 0.02, and 1 - 0.97 less than 0.03.
    if round(share, 6) < WARN_FROM:
        return None
    return (
        f"{name}: {share:.1%} of {agreement.images} images get another class than from the Keras "
        "model; try other ranges (--ranges=minmax or percentile), train it quantized (shufflenet "
        "quantize), or find the layers (shufflenet layer-error)"
    )


def check_precision(
    expected: float | None, found: float | None, quantization: str, name: str
) -> str | None:
    """Returns a warning with its remedies if a detector's file has lost average precision.

    Args:
      expected: of the Keras model, 0 to 1; None: there is no box to find.
      found: of the file, on the same images.
      quantization: a key of `PRECISION_BOUNDS`.
      name: the file's name.

    Returns:
      One line, or None.

    Raises:
      UserError: it has lost more than its bound.

    Examples:
      >>> check_precision(0.52, 0.49, "int8-ptq", "x.tflite")
      'x.tflite: its AP is 49.0%, the Keras model's 52.0%; …'
    """
    if expected is None or found is None:
        return None
    lost, bound = round(expected - found, 6), PRECISION_BOUNDS[quantization]
    compared = f"{name}: its AP is {found:.1%}, the Keras model's {expected:.1%}"
    if lost > bound:
        raise UserError(f"{compared}, more than {bound:.0%} less; nothing was written")
    if lost < WARN_PRECISION_FROM:
        return None
    return (
        f"{compared}; try other ranges (--ranges=minmax or percentile), more --calibration_images, "
        "or train it quantized (shufflenet quantize); or check with more --samples: of few images, "
        "AP says little"
    )
