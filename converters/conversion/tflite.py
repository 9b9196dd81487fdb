"""Converts a tf_keras deployment graph to a .tflite file with a fixed batch."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import tensorflow as tf
import tf_keras

from common.cli import UserError
from common.console.quiet import quiet_stderr
from converters.conversion.ends import Ends, examples, in_order, traceable
from converters.conversion.int8_operators import (
    integer_elu,
    integer_outputs,
    loses_tensors,
    reads_nothing,
    without_markers,
)
from converters.conversion.int16_scales import share_scales
from converters.graph.emitted_layers import FUNCTIONS, Function, QuantizeBorder, changed
from converters.quantization.fake_quantization import constant_ranges

_IN_PARTS = "_in_parts"


def convert_float(
    model: tf_keras.Model, quantization: str, ends: Ends | None = None, batch: int = 1
) -> bytes:
    """Converts a deployment graph that computes in float32.

    Args:
      model: as `converters.graph.emitter.emit` returns it.
      quantization: "none", or only for the weights: "float16" or "dynamic" (int8).
      ends: the names of several inputs or outputs; None: those in the model.
      batch: examples per inference.

    Returns:
      The content of the .tflite file.
    """
    converter = _converter(model, ends, batch)
    if quantization != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return _convert(converter, model, ends)


def convert_fake_quant(
    model: tf_keras.Model, io_dtype: str = "int8", ends: Ends | None = None, batch: int = 1
) -> bytes:
    """Converts a fake-quantized deployment graph to full int8.

    Args:
      model: as `quantization.fake_quantization.fake_quant_model` returns it, trained or not.
      io_dtype: type of the input and output: "int8", "uint8" or "float32"; all but int8 add a
        QUANTIZE or DEQUANTIZE at each end. An output that stays in float32
        (`quantization.options`) is float32 with all of them.
      ends: the names of several inputs or outputs; None: those in the model.
      batch: examples per inference.

    Returns:
      The content of the .tflite file.

    Raises:
      UserError: TFLiteConverter cannot convert it.

    Examples:
      >>> Path("model_int8.tflite").write_bytes(convert_fake_quant(model, "uint8"))
    """
    content = _convert_full_int8(model, io_dtype, io_dtype, ends, batch)
    if not loses_tensors(content):
        return without_markers(integer_elu(content))
    content = _convert_full_int8(model, io_dtype, "float32", ends, batch)
    if reads_nothing(content):
        raise UserError(
            f"TFLiteConverter cannot convert a network whose {io_dtype} input is an output, too; "
            "use another io_dtype, or name the outputs to convert without it"
        )
    return integer_outputs(without_markers(integer_elu(content)), io_dtype)


def _convert_full_int8(
    model: tf_keras.Model, input_dtype: str, output_dtype: str, ends: Ends | None, batch: int
) -> bytes:
    """Returns what TFLiteConverter makes of a fake-quantized graph."""
    with _marked_borders(model), constant_ranges(model):
        converter = _converter(model, ends, batch)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.as_dtype(input_dtype)
    converter.inference_output_type = tf.as_dtype(output_dtype)
    return _convert(converter, model, ends)


def _marked_borders(model: tf_keras.Model) -> AbstractContextManager[None]:
    """Marks where tensors go between int8 and float32 operators, while the model is traced.

    The converter would make an operator between int8 ones int8, although it has no fake
    quantization, unless operators that it cannot quantize are around it.
    """
    borders = [layer for layer in model.layers if isinstance(layer, QuantizeBorder)]
    return changed("marked", dict.fromkeys(borders, True))


def _in_parts(model: tf_keras.Model) -> AbstractContextManager[None]:
    """Writes the functions that int16 does not have as several operators, while it is traced."""
    names = {
        layer: f"{layer.function}{_IN_PARTS}"
        for layer in model.layers
        if isinstance(layer, Function)
    }
    return changed("function", {layer: name for layer, name in names.items() if name in FUNCTIONS})


def convert_int16(
    model: tf_keras.Model,
    images: np.ndarray | Sequence[np.ndarray],
    ends: Ends | None = None,
    batch: int = 1,
) -> bytes:
    """Converts a deployment graph to int16 activations and int8 weights.

    The converter cannot concatenate tensors with 16-bit fake quantization, so the ranges come from
    its own calibration; those of tensors that meet are merged afterwards.

    Args:
      model: as `converters.graph.emitter.emit` returns it.
      images: preprocessed float32 calibration images [n, height, width, channels]; with several
        inputs, an array for each.
      ends: the names of several inputs or outputs; None: those in the model.
      batch: examples per inference.

    Returns:
      The content of the .tflite file, with float32 input and output.
    """
    with _in_parts(model):
        converter = _converter(model, ends, batch)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    converter.representative_dataset = lambda: examples(images, _ends(model, ends), batch)
    return share_scales(_convert(converter, model, ends))


def _converter(model: tf_keras.Model, ends: Ends | None, batch: int) -> tf.lite.TFLiteConverter:
    """Traces the model for a fixed batch: devices need one, not any size."""
    function, signature = traceable(model, _ends(model, ends), batch)
    # The second argument keeps the variables alive. The model itself would also do that, but then
    # TensorFlow exports each of its layers, which takes five times as long for the same bytes.
    holder = tf.Module()
    holder.kept = model.variables
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function(*signature)], holder
    )


def _convert(converter: tf.lite.TFLiteConverter, model: tf_keras.Model, ends: Ends | None) -> bytes:
    try:
        with quiet_stderr():
            content = converter.convert()
    except Exception as error:  # The converter raises whatever MLIR and its passes raise.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"TFLiteConverter cannot convert {model.name!r}: {reason}") from error
    return in_order(content, _ends(model, ends))


def _ends(model: tf_keras.Model, ends: Ends | None) -> Ends:
    return ends or Ends(tuple(model.input_names), tuple(model.output_names))
