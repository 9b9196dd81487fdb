"""Runs one .tflite model with LiteRT: numpy in, numpy out; needs no TensorFlow."""

import importlib.metadata
import os
from pathlib import Path

import numpy as np

from common.cli import UserError
from common.quiet import quiet_stderr

try:
    from ai_edge_litert import interpreter as _litert

    _PACKAGE = "ai-edge-litert"
except ImportError:
    try:
        from tflite_runtime import interpreter as _litert

        _PACKAGE = "tflite-runtime"
    except ImportError:
        _litert = None
        _PACKAGE = "none"

# Bytes 4..8 of every .tflite file: the flatbuffer's file identifier.
_IDENTIFIER = b"TFL3"
# A flatbuffer's offsets are signed 32-bit numbers.
_MAX_BYTES = 2**31 - 1
_DTYPES = tuple(np.dtype(name) for name in ("float32", "int8", "uint8", "int16"))


def litert_version() -> str:
    """Returns the installed runtime and its version, such as "ai-edge-litert 2.3.0"."""
    return "none" if _litert is None else f"{_PACKAGE} {importlib.metadata.version(_PACKAGE)}"


class LiteRTModel:
    """A .tflite model with one input and one output, loaded into LiteRT.

    Damaged files are rejected before anything runs: size and identifier are checked here, then
    LiteRT verifies the flatbuffer's structure and its tensors, operators and indices. Altered
    weights in a sound structure are not detected here, but by the hashes in an artifact's manifest.

    Args:
      path: the .tflite file.
      threads: threads of the CPU kernels, at least 1.
      reference_kernels: the plain reference kernels (OpResolverType.BUILTIN_REF) instead of
        the optimized ones with XNNPACK.

    Attributes:
      input_shape, output_shape: including the batch, such as (1, 224, 224, 3).
      input_dtype, output_dtype: numpy dtypes.
      input_quantization, output_quantization: (scale, zero point), real = (q - zero point)
        * scale; None where the tensor is float32.

    Raises:
      UserError: LiteRT is not installed, or the file is missing, damaged, or another kind of model.
      ValueError: `threads` is below 1.

    Examples:
      >>> model = LiteRTModel("artifact/deployment_int8_ptq.tflite")
      >>> logits = model.predict(artifact.preprocess(images))
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1, reference_kernels: bool = False):
        if threads < 1:
            raise ValueError(f"threads must be at least 1, received: {threads}")
        if _litert is None:
            raise UserError(
                "LiteRT is not installed; pip install ai-edge-litert (or tflite-runtime)"
            )
        self.path = Path(path)
        _check_header(self.path)
        self._interpreter = _load(self.path, threads, reference_kernels)
        inputs, outputs = (
            self._interpreter.get_input_details(),
            self._interpreter.get_output_details(),
        )
        if len(inputs) != 1 or len(outputs) != 1:
            raise UserError(
                f"{self.path} has {len(inputs)} inputs and {len(outputs)} outputs; "
                "a classifier has one of each"
            )
        self._input_index, self._output_index = inputs[0]["index"], outputs[0]["index"]
        self.input_shape, self.input_dtype, self.input_quantization = self._describe(inputs[0])
        self.output_shape, self.output_dtype, self.output_quantization = self._describe(outputs[0])

    def _describe(self, detail: dict) -> tuple[tuple[int, ...], np.dtype, tuple[float, int] | None]:
        dtype = np.dtype(detail["dtype"])
        if dtype not in _DTYPES:
            raise UserError(f"{self.path} has an input or output of type {dtype}; convert it again")
        shape = tuple(int(size) for size in detail["shape"])
        scale, zero_point = detail["quantization"]
        if dtype == np.float32:
            return shape, dtype, None
        if not (np.isfinite(scale) and scale > 0):
            raise UserError(f"{self.path} has a {dtype} tensor of scale {scale}; convert it again")
        return shape, dtype, (float(scale), int(zero_point))

    def quantize_input(self, x: np.ndarray) -> np.ndarray:
        """Returns preprocessed float32 images in the input's dtype, rounded to nearest.

        Args:
          x: float32 network input of any batch size, [n, height, width, channels].

        Returns:
          The same shape in `input_dtype`, clipped to its range.
        """
        x = np.asarray(x, np.float32)
        if self.input_quantization is None:
            return x
        scale, zero_point = self.input_quantization
        limits = np.iinfo(self.input_dtype)
        return np.clip(np.rint(x / np.float32(scale)) + zero_point, limits.min, limits.max).astype(
            self.input_dtype
        )

    def dequantize_output(self, raw: np.ndarray) -> np.ndarray:
        """Returns raw outputs as float32 logits."""
        if self.output_quantization is None:
            return np.asarray(raw, np.float32)
        scale, zero_point = self.output_quantization
        return (raw.astype(np.float32) - zero_point) * np.float32(scale)

    def set_input(self, x: np.ndarray) -> None:
        """Copies `x`, of exactly `input_shape` and `input_dtype`, into the input tensor.

        Raises:
          ValueError: `x` has another shape or dtype.
        """
        if x.shape != self.input_shape or x.dtype != self.input_dtype:
            raise ValueError(
                f"x must be {self.input_dtype} of shape {self.input_shape}, "
                f"received: {x.dtype} of shape {x.shape}"
            )
        self._interpreter.set_tensor(self._input_index, x)

    def run(self) -> None:
        """Computes the output for the input that is set; a benchmark times this call."""
        self._interpreter.invoke()

    def output(self) -> np.ndarray:
        """Returns a copy of the output tensor, in `output_dtype`."""
        return self._interpreter.get_tensor(self._output_index)

    def invoke(self, x: np.ndarray) -> np.ndarray:
        """Returns the raw output for one input of `input_shape` and `input_dtype`."""
        self.set_input(x)
        self.run()
        return self.output()

    def invoke_each(self, x: np.ndarray) -> np.ndarray:
        """Returns the raw outputs of preprocessed float32 images, one image at a time.

        Args:
          x: float32 network input, [n, height, width, channels].

        Returns:
          [n, classes] in `output_dtype`.
        """
        images = self.quantize_input(x)
        outputs = [self.invoke(image[np.newaxis])[0] for image in images]
        return np.stack(outputs) if outputs else np.empty((0, *self.output_shape[1:]))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Returns float32 logits, [n, classes], of preprocessed float32 images."""
        return self.dequantize_output(self.invoke_each(x))


def _check_header(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} does not exist or is not a file; check the path")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
    if len(head) < 8 or head[4:] != _IDENTIFIER or size > _MAX_BYTES:
        raise UserError(f"{path} is not a .tflite model ({size} bytes); check the path")


def _load(path: Path, threads: int, reference_kernels: bool):
    kinds = _litert.OpResolverType
    try:
        with quiet_stderr():
            interpreter = _litert.Interpreter(
                model_path=str(path),
                num_threads=threads,
                experimental_op_resolver_type=kinds.BUILTIN_REF
                if reference_kernels
                else kinds.AUTO,
            )
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise UserError(
            f"{path} is damaged or not supported by this LiteRT ({reason}); convert it again"
        ) from error
    return interpreter
