"""The canonical conversion: what you would do with a Keras 3 model without this project.

TFLiteConverter converts the network as it is, including its channel shuffles (reshape, transpose,
reshape), with the converter's own post-training quantization. This is the baseline that every
benchmark shows.
"""

from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from common.cli import UserError
from common.console.quiet import quiet_stderr
from converters.conversion.ends import Ends, examples, in_order, traceable
from converters.options import GRAPHS

QUANTIZATIONS = GRAPHS["canonical"]


def convert(
    model: keras.Model,
    quantization: str = "none",
    calibration: np.ndarray | Sequence[np.ndarray] | None = None,
    io_dtype: str = "int8",
    batch: int = 1,
    ends: Ends | None = None,
) -> bytes:
    """Converts a Keras 3 model to a .tflite file with a fixed batch.

    Args:
      model: of fixed size, with one tensor or a list of them at each end.
      quantization: "none" (float32), "float16" (float16 weights, computed in float32), "dynamic"
        (int8 weights, float32 input and output), or "int8-ptq" (all integer; an operator
        without an integer kernel is an error).
      calibration: preprocessed float32 images [n, height, width, channels] from the training
        data; only "int8-ptq" needs them, for the ranges of the activations. With several inputs,
        an array for each.
      io_dtype: type of the input and output of "int8-ptq": "int8", "uint8" or "float32".
      batch: images per inference.
      ends: the names of several inputs or outputs.

    Returns:
      The content of the .tflite file.

    Raises:
      ValueError: an unknown `quantization`, or "int8-ptq" without calibration images.
      UserError: TFLiteConverter cannot convert the model.

    Examples:
      >>> Path("model_int8.tflite").write_bytes(convert(model, "int8-ptq", images))
    """
    if quantization not in QUANTIZATIONS:
        raise ValueError(f"quantization must be one of {QUANTIZATIONS}, received: {quantization!r}")
    if quantization == "int8-ptq" and (calibration is None or not len(calibration)):
        raise ValueError('calibration must hold images for quantization="int8-ptq"')
    ends = ends or Ends()
    function, signature = traceable(model, ends, batch)
    traced = function.get_concrete_function(*signature)
    try:
        with quiet_stderr():
            converter = _converter(
                _from_functions(model, traced, ends),
                quantization,
                lambda: examples(calibration, ends, batch),
                io_dtype,
            )
            return in_order(converter.convert(), ends)
    except Exception as error:  # The converter raises whatever MLIR and its passes raise.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"TFLiteConverter cannot convert {model.name!r} with quantization {quantization!r}: "
            f"{reason}"
        ) from error


def _from_functions(
    model: keras.Model, traced: tf.types.experimental.ConcreteFunction, ends: Ends
) -> tf.lite.TFLiteConverter:
    # The second argument, the model, is omitted on purpose: given a Keras 3 model, the converter
    # freezes NaN in place of the weights, without a warning.
    if not ends.several:
        return tf.lite.TFLiteConverter.from_concrete_functions([traced])
    # Without one, the file would have no signature, which alone tells its outputs apart.
    holder = tf.Module()
    holder.kept = [variable.value for variable in model.variables]
    return tf.lite.TFLiteConverter.from_concrete_functions([traced], holder)


def _converter(
    converter: tf.lite.TFLiteConverter,
    quantization: str,
    calibration: Callable[[], Iterator],
    io_dtype: str,
) -> tf.lite.TFLiteConverter:
    if quantization != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization == "int8-ptq":
        converter.representative_dataset = calibration
        # Only integer kernels: an operator that would stay in float is an error.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.as_dtype(io_dtype)
        converter.inference_output_type = tf.as_dtype(io_dtype)
    return converter
