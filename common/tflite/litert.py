"""Runs a .tflite model with LiteRT: numpy in, numpy out; needs no TensorFlow."""

import importlib.metadata
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.cli import UserError
from common.console.quiet import quiet_stderr

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


# How far from a half the float32 arithmetic of a pixel's preprocessing may be, in steps.
_HALF_ERROR = 1e-3


@dataclass(frozen=True)
class Tensor:
    """An input or output of a .tflite file.

    Attributes:
      name: as in the file.
      shape: including the batch, such as (1, 224, 224, 3).
      dtype: float32, int8, uint8 or int16.
      quantization: (scale, zero point), real = (q - zero point) * scale; None for float32.
      index: its number in the file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    quantization: tuple[float, int] | None
    index: int

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Returns float32 values in the tensor's dtype, rounded to nearest and clipped.

        Pixels scaled to [-1, 1] are halves. They are rounded to the side of zero that has more
        steps: pixel p is then stored as p, or in int8 as p - 128, as cameras and other programs
        hand it to the file.
        """
        x = np.asarray(x, np.float32)
        if self.quantization is None:
            return x
        scale, zero_point = self.quantization
        limits = np.iinfo(self.dtype)
        steps, half = x / np.float32(scale), np.float32(0.5 + _HALF_ERROR)
        is_down = zero_point - limits.min > limits.max - zero_point
        rounded = np.ceil(steps - half) if is_down else np.floor(steps + half)
        return np.clip(rounded + zero_point, limits.min, limits.max).astype(self.dtype)

    def dequantize(self, raw: np.ndarray) -> np.ndarray:
        """Returns the tensor's values as float32."""
        return dequantized(raw, self.quantization)


def dequantized(raw: np.ndarray, quantization: tuple[float, int] | None) -> np.ndarray:
    """Returns raw values as float32.

    Args:
      raw: in a file's dtype.
      quantization: (scale, zero point), real = (q - zero point) * scale; None for float32.
    """
    if quantization is None:
        return np.asarray(raw, np.float32)
    scale, zero_point = quantization
    return (raw.astype(np.float32) - zero_point) * np.float32(scale)


class LiteRTNetwork:
    """A .tflite model with any number of inputs and outputs, loaded into LiteRT.

    Damaged files are rejected before anything runs: size and identifier are checked here, then
    LiteRT verifies the flatbuffer's structure and its tensors, operators and indices. Altered
    weights in a sound structure are not detected here, but by the hashes in an artifact's manifest.

    Args:
      path: the .tflite file.
      threads: threads of the CPU kernels, at least 1.
      reference_kernels: the plain reference kernels (OpResolverType.BUILTIN_REF) instead of
        the optimized ones with XNNPACK.

    Attributes:
      inputs, outputs: `Tensor`s, in the file's order.

    Raises:
      UserError: LiteRT is not installed, or the file is missing or damaged.
      ValueError: `threads` is below 1.

    Examples:
      >>> boxes, scores = LiteRTNetwork("detector.tflite").predict_all([images])
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
        self.inputs = tuple(map(self._describe, self._interpreter.get_input_details()))
        self.outputs = tuple(map(self._describe, self._interpreter.get_output_details()))

    def _describe(self, detail: dict) -> Tensor:
        dtype = np.dtype(detail["dtype"])
        if dtype not in _DTYPES:
            raise UserError(f"{self.path} has an input or output of type {dtype}; convert it again")
        shape = tuple(int(size) for size in detail["shape"])
        scale, zero_point = detail["quantization"]
        quantization = None if dtype == np.float32 else (float(scale), int(zero_point))
        if quantization and not (np.isfinite(scale) and scale > 0):
            raise UserError(f"{self.path} has a {dtype} tensor of scale {scale}; convert it again")
        return Tensor(detail["name"], shape, dtype, quantization, detail["index"])

    def set_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        """Copies arrays, of exactly the inputs' shapes and dtypes, into the input tensors.

        Raises:
          ValueError: one has another shape or dtype.
        """
        for x, tensor in zip(arrays, self.inputs, strict=True):
            if x.shape != tensor.shape or x.dtype != tensor.dtype:
                raise ValueError(
                    f"x must be {tensor.dtype} of shape {tensor.shape}, "
                    f"received: {x.dtype} of shape {x.shape}"
                )
            self._interpreter.set_tensor(tensor.index, x)

    def run(self) -> None:
        """Computes the outputs for the inputs that are set; a benchmark times this call."""
        self._interpreter.invoke()

    def output_arrays(self) -> list[np.ndarray]:
        """Returns copies of the output tensors, in their dtypes."""
        return [self._interpreter.get_tensor(tensor.index) for tensor in self.outputs]

    def invoke_all(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the raw outputs of float32 inputs [n, ...], as many at a time as the file takes.

        Returns:
          For each output [n, ...] in its dtype.
        """
        return self.run_each(
            [tensor.quantize(x) for x, tensor in zip(arrays, self.inputs, strict=True)]
        )

    def run_each(self, stored: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the raw outputs, each [n, ...], of inputs [n, ...] in the file's dtypes."""
        count, batch = len(stored[0]), (self.inputs[0].shape or (1,))[0]
        found = [np.empty((count, *tensor.shape[1:]), tensor.dtype) for tensor in self.outputs]
        for start in range(0, count, batch):
            # The last batch is filled up with its last example.
            chosen = np.minimum(np.arange(start, start + batch), count - 1)
            self.set_inputs([x[chosen] for x in stored])
            self.run()
            for outputs, raw in zip(found, self.output_arrays(), strict=True):
                outputs[start : start + batch] = raw[: count - start]
        return found

    def predict_all(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the float32 outputs, each [n, ...], of float32 inputs [n, ...]."""
        raw = self.invoke_all(arrays)
        return [tensor.dequantize(x) for x, tensor in zip(raw, self.outputs, strict=True)]


class LiteRTModel(LiteRTNetwork):
    """A .tflite model with one input and one output, loaded into LiteRT.

    Args:
      path, threads, reference_kernels: as for `LiteRTNetwork`.

    Attributes:
      input_shape, output_shape: including the batch, such as (1, 224, 224, 3).
      input_dtype, output_dtype: numpy dtypes.
      input_quantization, output_quantization: (scale, zero point), real = (q - zero point)
        * scale; None where the tensor is float32.

    Raises:
      UserError: as for `LiteRTNetwork`, or the file has several inputs or outputs.

    Examples:
      >>> model = LiteRTModel("artifact/deployment_int8_ptq.tflite")
      >>> logits = model.predict(artifact.preprocess(images))
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1, reference_kernels: bool = False):
        super().__init__(path, threads, reference_kernels)
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            raise UserError(
                f"{self.path} has {len(self.inputs)} inputs and {len(self.outputs)} outputs; "
                "a classifier has one of each"
            )
        (source,), (result,) = self.inputs, self.outputs
        self.input_shape, self.input_dtype = source.shape, source.dtype
        self.output_shape, self.output_dtype = result.shape, result.dtype
        self.input_quantization, self.output_quantization = source.quantization, result.quantization

    def quantize_input(self, x: np.ndarray) -> np.ndarray:
        """Returns preprocessed float32 images in the input's dtype, rounded to nearest.

        Args:
          x: float32 network input of any batch size, [n, height, width, channels].

        Returns:
          The same shape in `input_dtype`, clipped to its range.
        """
        return self.inputs[0].quantize(x)

    def dequantize_output(self, raw: np.ndarray) -> np.ndarray:
        """Returns raw outputs as float32 logits."""
        return self.outputs[0].dequantize(raw)

    def set_input(self, x: np.ndarray) -> None:
        """Copies `x`, of exactly `input_shape` and `input_dtype`, into the input tensor.

        Raises:
          ValueError: `x` has another shape or dtype.
        """
        self.set_inputs([x])

    def output(self) -> np.ndarray:
        """Returns a copy of the output tensor, in `output_dtype`."""
        return self.output_arrays()[0]

    def invoke(self, x: np.ndarray) -> np.ndarray:
        """Returns the raw output for one input of `input_shape` and `input_dtype`."""
        self.set_input(x)
        self.run()
        return self.output()

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Returns float32 logits, [n, classes], of preprocessed float32 images."""
        return self.predict_all([x])[0]


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
                # As bytes: a folder's name may be of another encoding than UTF-8.
                model_path=os.fsencode(path),
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
