"""Runs a .tflite file of unknown origin in another process, which it may crash or never leave."""

import contextlib
import ctypes
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np

from common.child_process import module_command, module_environment
from common.cli import UserError
from common.tflite.litert import LiteRTModel

# Far more than so many images take.
SECONDS = 120.0
_IMAGES_AT_ONCE = 16
_LENGTH_BYTES = 8
_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class IsolatedModel:
    """A .tflite model with one input and one output that runs in a process of its own.

    Args:
      path: the .tflite file.
      seconds: how long it may take to load, and for each 16 images.

    Attributes:
      path: the file.
      input_shape, output_shape: including the batch, such as (1, 224, 224, 3).

    Raises:
      UserError: as `LiteRTModel`; or the file ended its process, or took too long.

    Examples:
      >>> model = IsolatedModel("deployment_int8_ptq.tflite")
      >>> logits = model.predict(images)
    """

    def __init__(self, path: str | os.PathLike, seconds: float = SECONDS):
        self.path = Path(path)
        self._seconds = seconds
        self._process = subprocess.Popen(
            module_command(__name__, str(path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=module_environment(),
        )
        shapes = self._ask(None)
        self.input_shape, self.output_shape = (tuple(map(int, shape)) for shape in shapes)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Returns float32 logits, [n, classes], of preprocessed float32 images."""
        x = np.asarray(x, np.float32)
        # Few at a time: how long a sound file may take does not depend on the caller's batch.
        starts = range(0, max(len(x), 1), _IMAGES_AT_ONCE)
        replies = [self._ask(x[start : start + _IMAGES_AT_ONCE]) for start in starts]
        return np.concatenate([logits for (logits,) in replies])

    def __del__(self) -> None:
        if hasattr(self, "_process"):
            self._process.kill()
            self._process.wait()

    def _ask(self, x: np.ndarray | None) -> list[np.ndarray]:
        """Sends a request, if there is one, and returns the reply."""
        late = threading.Event()
        timer = threading.Timer(self._seconds, lambda: (late.set(), self._process.kill()))
        timer.start()
        try:
            if x is not None:
                _send(self._process.stdin, {"x": x})
            reply = _receive(self._process.stdout)
        except BrokenPipeError:
            reply = None
        finally:
            timer.cancel()
        if reply is None:
            raise UserError(
                f"{self.path} {self._why(late.is_set())}; check it, or convert it again"
            )
        if "error" in reply:
            raise UserError(str(reply["error"]))
        return list(reply.values())

    def _why(self, late: bool) -> str:
        code = self._process.wait()
        if late:
            return f"did not answer within {self._seconds:g} seconds"
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"ended the process that ran it ({ended})"


def _send(stream: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    content = io.BytesIO()
    np.savez(content, **arrays)
    stream.write(len(content.getvalue()).to_bytes(_LENGTH_BYTES, "little"))
    stream.write(content.getvalue())
    stream.flush()


def _receive(stream: BinaryIO) -> dict[str, np.ndarray] | None:
    """Returns the next arrays; None at the stream's end."""
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    content = stream.read(length)
    if not length or len(content) < length:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def _serve(path: str) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
    # Libraries print to stdout from C++: only the replies get the real one.
    with os.fdopen(os.dup(1), "wb") as replies:
        os.dup2(2, 1)
        try:
            model = LiteRTModel(path)
            _send(replies, {"input": model.input_shape, "output": model.output_shape})
            while request := _receive(sys.stdin.buffer):
                _send(replies, {"logits": model.predict(request["x"])})
        except (UserError, ValueError, RuntimeError) as error:
            _send(replies, {"error": np.array(str(error))})


if __name__ == "__main__":
    _serve(sys.argv[1])
