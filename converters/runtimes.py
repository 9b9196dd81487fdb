"""The runtimes that a .tflite file is compared on, all with any number of inputs and outputs."""

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import interpreter as litert

from trainers.cli import UserError
from trainers.quiet import quiet_stderr

# More than any microcontroller has, and enough for files whose tensors are all alive at once.
_ARENA_BYTES = 256 * 2**20


class LiteRTRuntime:
    """LiteRT with the kernels of one kind, on one thread.

    Args:
      content: of a .tflite file.
      kernels: a name in `litert.OpResolverType`: "AUTO" (XNNPACK) or "BUILTIN_REF".

    Raises:
      UserError: LiteRT refuses the file.
    """

    def __init__(self, content: bytes, kernels: str):
        try:
            with quiet_stderr():
                self._interpreter = litert.Interpreter(
                    model_content=content,
                    num_threads=1,
                    experimental_op_resolver_type=litert.OpResolverType[kernels],
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"LiteRT refuses the file ({_first_line(error)})") from error
        self._inputs = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs for int8 inputs with a batch of one, both in the file's order."""
        for index, x in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, x)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


class MicroRuntime:
    """TFLite Micro's own interpreter, with its portable kernels.

    Args:
      content: of a .tflite file.
      outputs: how many the file has.

    Raises:
      UserError: it is not installed, or refuses the file.
    """

    def __init__(self, content: bytes, outputs: int):
        try:
            from tflite_micro.python.tflite_micro import runtime

            with quiet_stderr():
                self._interpreter = runtime.Interpreter.from_bytes(content, arena_size=_ARENA_BYTES)
        except ImportError as error:
            raise UserError("it is not installed; pip install 'keras_shufflenet[micro]'") from error
        except (ValueError, RuntimeError) as error:
            raise UserError(f"it refuses the file ({_first_line(error)})") from error
        self._outputs = outputs

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs for int8 inputs with a batch of one, both in the file's order."""
        # Every time: the interpreter overwrites its inputs.
        for index, x in enumerate(inputs):
            self._interpreter.set_input(x, index)
        self._interpreter.invoke()
        return [self._interpreter.get_output(index).copy() for index in range(self._outputs)]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
