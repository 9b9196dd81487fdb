"""TFLite Micro's own interpreter, on this machine: its outputs, and the memory it needs."""

import importlib.metadata
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.cli import UserError
from common.console.quiet import captured_stderr, quiet_stderr

# More than any microcontroller has, and enough for files whose tensors are all in use at once.
_ARENA_BYTES = 256 * 2**20
_PACKAGE = "tflite-micro"
_TOTAL = re.compile(r"^\[RecordingMicroAllocator\] Arena allocation total (\d+) bytes\r?$", re.M)
_HEAD = re.compile(r"^\[RecordingMicroAllocator\] Arena allocation head (\d+) bytes\r?$", re.M)
_TABLES = re.compile(r"^\[RecordingMicroAllocator\] '(.*)' used (\d+) bytes", re.M)


def micro_version() -> str | None:
    """Returns the version of the interpreter's package, or None if it is not installed."""
    try:
        return importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None


def arena_total(notes: str) -> int | None:
    """Returns the arena's size in bytes from the output of `print_allocations`, or None.

    Examples:
      >>> arena_total("[RecordingMicroAllocator] Arena allocation total 8720 bytes")
      8720
    """
    totals = _TOTAL.findall(notes)
    return int(totals[-1]) if totals else None


class Allocations(NamedTuple):
    """What an arena holds, in bytes.

    Attributes:
      total: the smallest sufficient arena.
      head: the feature maps, which share their places.
      tables: the interpreter's own structures by name; they are the rest.
    """

    total: int
    head: int
    tables: dict[str, int]


class RefusedError(UserError):
    """A file that TFLite Micro cannot run; `reason` is the first line of its message."""

    def __init__(self, error: Exception):
        self.reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        super().__init__(f"it refuses the file ({self.reason})")


class MicroRuntime:
    """TFLite Micro's own interpreter, with its portable kernels.

    Args:
      content: the content of a .tflite file.
      outputs: how many outputs the file has.
      arena_size: the bytes that it may use.

    Raises:
      RefusedError: TFLite Micro refuses the file; `invoke` and `run` raise it, too.
      UserError: TFLite Micro is not installed.

    Examples:
      >>> runtime = MicroRuntime(path.read_bytes())
      >>> (scores,) = runtime.run([image])
    """

    def __init__(self, content: bytes, outputs: int = 1, arena_size: int = _ARENA_BYTES):
        try:
            from tflite_micro.python.tflite_micro import runtime

            with quiet_stderr():
                self._interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_size)
        except ImportError as error:
            raise UserError("it is not installed; pip install 'keras_shufflenet[micro]'") from error
        except (ValueError, RuntimeError) as error:
            raise RefusedError(error) from error
        self._outputs = outputs

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs for integer inputs with a batch of one, both in the file's order."""
        self.set_inputs(inputs)
        self.invoke()
        return self.outputs()

    def set_inputs(self, inputs: Sequence[np.ndarray]) -> None:
        """Sets the inputs; call it before every `invoke`: the interpreter overwrites them."""
        for index, x in enumerate(inputs):
            self._interpreter.set_input(x, index)

    def invoke(self) -> None:
        """Computes the outputs and nothing else; a benchmark times this call."""
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise RefusedError(error) from error

    def outputs(self) -> list[np.ndarray]:
        """Returns copies of the outputs of the last `invoke`."""
        return [self._interpreter.get_output(index).copy() for index in range(self._outputs)]

    def arena_bytes(self) -> int:
        """Returns the bytes that its recording allocator reports: the smallest sufficient arena.

        Pointers have 64 bits here; on a microcontroller the same network takes less.

        Raises:
          UserError: it reports none.
        """
        return self.allocations().total

    def allocations(self) -> Allocations:
        """Returns what its recording allocator reports of the arena.

        Raises:
          UserError: it reports none.
        """
        with captured_stderr() as notes:
            self._interpreter.print_allocations()
        total, heads = arena_total(notes[0]), _HEAD.findall(notes[0])
        if total is None or not heads:
            raise UserError(
                f"{_PACKAGE} {micro_version()} does not report its arena; install another version"
            )
        tables = {name: int(used) for name, used in _TABLES.findall(notes[0])}
        return Allocations(total, int(heads[-1]), tables)
