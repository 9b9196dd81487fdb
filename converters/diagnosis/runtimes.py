"""LiteRT as a runtime to compare, for .tflite files with any number of inputs and outputs."""

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import interpreter as litert

from common.cli import UserError
from common.console.quiet import quiet_stderr


class LiteRTRuntime:
    """LiteRT with one kind of kernels, on one thread.

    Args:
      content: content of a .tflite file.
      kernels: a name in `litert.OpResolverType`: "AUTO" (XNNPACK) or "BUILTIN_REF".

    Raises:
      UserError: LiteRT cannot load the file.
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
            raise UserError(f"LiteRT cannot load the file ({_first_line(error)})") from error
        self._inputs = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs for int8 inputs, each with a batch of one, in the file's order."""
        for index, x in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, x)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
