"""LiteRT's own profiler, which times every operator where it runs, XNNPACK's too.

The Python package has no call for it, but brings the C library that has. That interface changes
from version to version, so it is used in those versions alone that it was tried with. Import this
in a process of its own (`edge.profiling.worker`): the library prints to stderr, and may crash.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.cli import UserError

TRIED_VERSIONS = ("2.3.",)

_LIBRARY = "libLiteRt.so"
_CPU = 1  # kLiteRtHwAcceleratorCpu
_WRITE = 1  # kLiteRtTensorBufferLockModeWrite
# Types of events: an operator of LiteRT's own kernels, and one of a delegate.
_OPERATOR, _DELEGATE_OPERATORS = 1 << 1, (1 << 2, 1 << 3)
_FIRST = ctypes.c_size_t(0)
_ONE = ctypes.c_size_t(1)
_Handle = ctypes.c_void_p


class _Event(ctypes.Structure):
    """ProfiledEventData of litert/c/litert_profiler_event.h, in the layout of `TRIED_VERSIONS`."""

    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory_before_and_after", ctypes.c_uint64 * 6),
        ("index", ctypes.c_uint64),
        ("metadata", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


class _RankedTensorType(ctypes.Structure):
    _fields_ = (("element_type", ctypes.c_int), ("layout", ctypes.c_uint8 * 68))


@dataclass(frozen=True)
class Event:
    """One operator of one inference.

    Attributes:
      name: the runtime's: "Convolution (NHWC, QC8) IGEMM" of XNNPACK, "CONV_2D" of LiteRT.
      microseconds: from the end of the operator before, rounded down.
      index: of the operator in the file, where LiteRT's own kernel ran it; None for a delegate.
    """

    name: str
    microseconds: int
    index: int | None


class ProfiledModel:
    """A .tflite model with one input and one output, whose every run gives its operators' times.

    What it takes from the C library stays until the process ends.

    Args:
      path: the .tflite file.
      threads: threads of the CPU kernels.
      xnnpack: False for LiteRT's own kernels alone.

    Raises:
      UserError: this LiteRT has no profiler that is known here, or it refuses the file.

    Examples:
      >>> model = ProfiledModel("deployment_int8_ptq.tflite")
      >>> model.set_input(x)
      >>> model.run()[0]
      Event(name='Convolution (NHWC, QC8) IGEMM', microseconds=107, index=None)
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1, xnnpack: bool = True):
        self._library = ctypes.CDLL(str(_find_library()))
        self._kept: list = []
        environment, model = _Handle(), _Handle()
        self._call("LiteRtCreateEnvironment", 0, None, ctypes.byref(environment))
        name = str(path).encode()
        self._call("LiteRtCreateModelFromFile", environment, name, ctypes.byref(model))
        self._compiled = self._compile(environment, model, threads, xnnpack)
        self._profiler = _Handle()
        self._call("LiteRtCompiledModelGetProfiler", self._compiled, ctypes.byref(self._profiler))
        if not self._profiler:
            raise UserError("LiteRT gave no profiler")
        self._input = self._buffer(environment, model, "Input")
        self._output = self._buffer(environment, model, "Output")

    def set_input(self, x: np.ndarray) -> None:
        """Copies `x`, of the input's shape and dtype, into the input."""
        address, size = ctypes.c_void_p(), ctypes.c_size_t()
        self._call("LiteRtGetTensorBufferPackedSize", self._input, ctypes.byref(size))
        if size.value != x.nbytes:
            raise ValueError(f"x must have {size.value} bytes, received: {x.nbytes}")
        self._call("LiteRtLockTensorBuffer", self._input, ctypes.byref(address), _WRITE)
        ctypes.memmove(address, x.tobytes(), x.nbytes)
        self._call("LiteRtUnlockTensorBuffer", self._input)

    def run(self) -> list[Event]:
        """Computes the output and returns the operators in the order of execution."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        inputs, outputs = (_Handle * 1)(self._input), (_Handle * 1)(self._output)
        self._call("LiteRtRunCompiledModel", self._compiled, _FIRST, _ONE, inputs, _ONE, outputs)
        self._call("LiteRtStopProfiler", self._profiler)
        return [
            Event(
                event.tag.decode(errors="replace"),
                event.elapsed_us,
                event.index if event.type == _OPERATOR else None,
            )
            for event in self._events()
            if event.type == _OPERATOR or event.type in _DELEGATE_OPERATORS
        ]

    def _events(self) -> ctypes.Array:
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return events

    def _compile(
        self, environment: _Handle, model: _Handle, threads: int, xnnpack: bool
    ) -> _Handle:
        options, compiled = _Handle(), _Handle()
        self._call("LiteRtCreateOptions", ctypes.byref(options))
        self._call("LiteRtSetOptionsHardwareAccelerators", options, _CPU)
        self._add_options(options, b"runtime_options_string", "enable_profiling = true\n")
        kernels = "xnnpack" if xnnpack else "builtin"
        values = f'kernel_mode = "{kernels}"\nnum_threads = {threads}\n'
        self._add_options(options, b"xnnpack", values)
        self._call("LiteRtCreateCompiledModel", environment, model, options, ctypes.byref(compiled))
        return compiled

    def _add_options(self, options: _Handle, identifier: bytes, values: str) -> None:
        payload = ctypes.create_string_buffer(values.encode())
        release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda address: None)
        # The library keeps the addresses of all three.
        self._kept += [identifier, payload, release]
        added, address = _Handle(), ctypes.cast(payload, ctypes.c_void_p)
        self._call("LiteRtCreateOpaqueOptions", identifier, address, release, ctypes.byref(added))
        self._call("LiteRtAddOpaqueOptions", options, added)

    def _buffer(self, environment: _Handle, model: _Handle, end: str) -> _Handle:
        """Returns memory for the first "Input" or "Output"."""
        graph, tensor, requirements, buffer = (_Handle() for _ in range(4))
        kind = _RankedTensorType()
        self._call("LiteRtGetModelSubgraph", model, _FIRST, ctypes.byref(graph))
        self._call(f"LiteRtGetSubgraph{end}", graph, _FIRST, ctypes.byref(tensor))
        self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
        function = f"LiteRtGetCompiledModel{end}BufferRequirements"
        self._call(function, self._compiled, _FIRST, _FIRST, ctypes.byref(requirements))
        self._call(
            "LiteRtCreateManagedTensorBufferFromRequirements",
            *(environment, ctypes.byref(kind), requirements, ctypes.byref(buffer)),
        )
        return buffer

    def _call(self, function: str, *arguments: object) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise UserError(f"LiteRT's {function} failed with status {status}")


def _find_library() -> Path:
    spec = importlib.util.find_spec("ai_edge_litert")
    if spec is None or spec.origin is None:
        raise UserError("LiteRT's profiler needs ai-edge-litert, which is not installed")
    version = importlib.metadata.version("ai-edge-litert")
    path = Path(spec.origin).with_name(_LIBRARY)
    if not version.startswith(TRIED_VERSIONS) or not path.is_file():
        known = ", ".join(f"{prefix}x" for prefix in TRIED_VERSIONS)
        raise UserError(f"LiteRT's profiler is known for ai-edge-litert {known}, not for {version}")
    return path
