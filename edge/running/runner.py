"""Measures .tflite files with LiteRT; this file runs by itself on any board with Python.

It imports nothing from this project and only uses the syntax of Python 3.7 (a Coral Dev Board's):
`--device=ssh` copies it to a board that has numpy and ai-edge-litert (or tflite-runtime),
`--device=host` runs it on this machine, so that both measure in the same way. It reads a request
from stdin, one line, and prints its reply to stdout, both as JSON:

  echo '{"task": "describe"}' | python runner.py

Between inferences it prints lines of `PROGRESS` to stderr, so that a silent one can be given up.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# What a process prints to stderr, at most once a second, while its work goes on.
PROGRESS = "..."
_progress = {"reported": 0.0}
_PACKAGES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}
_INVOKES_FOR_MEMORY = 3
# The warm-up ends when the medians of two consecutive windows differ by at most this share.
_WINDOW = 10
_STABLE = 0.03
_MOST_WINDOWS = 30
_MOST_SECONDS = 10.0
# Instructions that decide how fast products of 8-bit integers are, best first.
_VECTORS = ("avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "asimddp")

_CPU = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/"
_ZONE = "/sys/class/thermal/thermal_zone*/"
# The files with a processor's state, as shell patterns.
SENSORS = (
    _CPU + "scaling_cur_freq",
    _CPU + "scaling_governor",
    _ZONE + "type",
    _ZONE + "temp",
    "/proc/loadavg",
)


class RunnerError(Exception):
    """A user's mistake or a problem of this machine: one line with the remedy."""


def serve(task: Callable[[dict], dict], mistakes: tuple[type, ...] = (RunnerError,)) -> None:
    """Reads a request from stdin, runs `task` on it and prints the reply to stdout.

    Exceptions of the types in `mistakes` are reported in the reply, as {"error": …}. If the request
    is `attended`, stdin stays open, and its end ends this process: nobody waits for the reply.
    """
    # Libraries print to stdout from C++: they get stderr, and only the reply gets the real stdout.
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        try:
            request = json.loads(sys.stdin.readline())
            if request.pop("attended", False):
                threading.Thread(target=_end_with_stdin, daemon=True).start()
            values = task(request)
        except mistakes as error:
            values = {"error": str(error)}
        json.dump(values, replies)


def report_progress() -> None:
    """Says on stderr that the work goes on; call it after each inference."""
    now = time.monotonic()
    if now - _progress["reported"] >= 1:
        _progress["reported"] = now
        print(PROGRESS, file=sys.stderr, flush=True)


def measure(request: dict) -> dict:
    """Runs the task that a request names.

    Args:
      request: `task`, which is "describe", "single" or "together". The last two also need `files`,
        a list of {"path", "sha256"} (exactly one for "single"); `threads`; `cores`, to which the
        process is pinned, [] for all; and the `library` of a delegate, or None. "single" needs
        `samples`, an .npz file, or None, and `inputs`: for each input the name of its `array` in
        that file, and the `scale` and `offset` of its uint8 pixels, or None for both. "together"
        needs `warmup` and `runs`, and may have a `cooldown`.

    Raises:
      RunnerError: LiteRT is missing, a file or library cannot be loaded, or a core does not exist.
    """
    if request["task"] == "describe":
        _litert()
        return {"machine": describe_machine()}
    pin(request["cores"])
    return {"single": _single, "together": _together}[request["task"]](request)


def pin(cores: list[int]) -> None:
    """Pins this process, and the threads that it will start, to some cores; [] does nothing."""
    if not cores:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise RunnerError("this system cannot pin a process to cores; omit --cores")
    try:
        os.sched_setaffinity(0, set(cores))
    except (OSError, ValueError) as error:
        raise RunnerError(
            "--cores={} cannot be used on this machine with {} cores ({}); name others".format(
                ",".join(map(str, cores)), os.cpu_count(), error
            )
        ) from error


def describe_machine() -> dict:
    """Returns the properties of this machine that a timing depends on; None if unreadable."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "litert": _litert_version(),
    }


def read_state() -> dict:
    """Returns the processor's current state, which affects a timing, as `state` does."""
    paths = [str(path) for pattern in SENSORS for path in Path("/").glob(pattern[1:])]
    found = state({path: _read(path) or "" for path in paths})
    if not found["frequency_mhz"]:
        # For machines whose kernel does not scale frequencies, such as virtual machines.
        found["frequency_mhz"] = [
            float(value) for key, value in _cpu_info() if key == "cpu MHz" and _is_number(value)
        ]
    return found


def state(texts: dict[str, str]) -> dict:
    """Returns the processor's state.

    Args:
      texts: the content of the files in `SENSORS`, by path.

    Returns:
      `frequency_mhz` and `governors` by core, `temperature_c` by name, `load_average`; if nothing
      can be read, they are empty and the load is None.
    """
    by_core: dict[str, dict[int, str]] = {"scaling_cur_freq": {}, "scaling_governor": {}}
    zones: dict[str, dict[str, str]] = {}
    for path, text in texts.items():
        folder, name = path.rsplit("/", 1)
        if name in by_core and text:
            by_core[name][int(folder.split("/")[-2][len("cpu") :])] = text
        elif name in ("type", "temp"):
            zones.setdefault(folder, {})[name] = text
    load = texts.get("/proc/loadavg", "").split()[:3]
    frequencies, governors = (sorted(values.items()) for values in by_core.values())
    return {
        "frequency_mhz": [float(text) / 1e3 for _, text in frequencies if _is_number(text)],
        "governors": [text for _, text in governors],
        "temperature_c": {
            "{} ({})".format(zone.get("type") or "unnamed", folder[folder.rindex("zone") + 4 :]): (
                float(zone["temp"]) / 1e3
            )
            for folder, zone in sorted(zones.items())
            if _is_number(zone.get("temp", ""))
        },
        "load_average": [float(text) for text in load] if len(load) == 3 else None,
    }


def timed(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Returns the milliseconds of one call: the one timer of all measurements."""
    start = clock()
    run()
    return (clock() - start) * 1e3


def time_interleaved(models: list, warmup: int, runs: int, cooldown: float = 0) -> dict:
    """Times models in interleaved rounds, so that a busy moment affects all of them.

    Args:
      models: each has `set_input(x)`, `run()`, and `noise()`, which returns such an x.
      warmup: inferences of each model before the timed ones; more follow until their times are
        stable. 0 means no warm-up.
      runs: timed inferences of each model.
      cooldown: seconds of pause before each timed round, which then starts with a round that is not
        timed: a processor that has rested runs slowly at first.

    Returns:
      `milliseconds`, the times of `runs` inferences for each model, without setting the input;
      `warmup`, the number of inferences before them; `warmup_stable`, whether their times became
      stable; `state_before` and `state_after`, the processor's state.
    """
    inputs = [model.noise() for model in models]
    count, stable = _warm_up(models, inputs, warmup)
    before = read_state()
    milliseconds = _interleaved_rounds(models, inputs, runs, cooldown)
    return {
        "milliseconds": milliseconds,
        "warmup": count,
        "warmup_stable": stable,
        "state_before": before,
        "state_after": read_state(),
    }


class Model:
    """A .tflite file, loaded into LiteRT."""

    def __init__(self, path: str, threads: int, library: str | None):
        litert = _litert()
        try:
            delegates = [litert.load_delegate(library)] if library else None
        except (ValueError, OSError, RuntimeError) as error:
            raise RunnerError(
                f"{library} cannot be loaded ({_first_line(error)}); install it, plug in the "
                "accelerator, or name another library"
            ) from error
        try:
            self._interpreter = litert.Interpreter(
                # As bytes: a folder's name may be of another encoding than UTF-8.
                model_path=os.fsencode(path),
                num_threads=threads,
                experimental_delegates=delegates,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise RunnerError(
                f"it is damaged or not for this LiteRT ({_first_line(error)}); convert it again"
            ) from error
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()

    def noise(self) -> list[np.ndarray]:
        """Returns random values for each input, of its type, always the same."""
        random = np.random.RandomState(0)
        return [_noise(detail, random) for detail in self._inputs]

    def set_input(self, arrays: list[np.ndarray]) -> None:
        """Copies an array for each input, with its batch of one, into the input tensors."""
        for detail, x in zip(self._inputs, arrays):  # noqa: B905 -- Python 3.7 lacks `strict`
            self._interpreter.set_tensor(detail["index"], x)

    def run(self) -> None:
        """Computes the outputs for the inputs that were set."""
        self._interpreter.invoke()

    def outputs(self, samples: list[np.ndarray], inputs: list[dict]) -> list[np.ndarray]:
        """Returns the raw outputs, each [n, ...], for samples [n, ...] of each input.

        Pixels become an input as pixel * scale + offset.
        """
        rows = []
        for index in range(len(samples[0])):
            arrays = [
                _value(array[index], detail, one)
                for array, detail, one in zip(samples, self._inputs, inputs)  # noqa: B905
            ]
            self.set_input(arrays)
            self.run()
            rows.append([self._interpreter.get_tensor(one["index"])[0] for one in self._outputs])
            report_progress()
        return [np.stack(column) for column in zip(*rows)]  # noqa: B905


def _value(sample: np.ndarray, detail: dict, constants: dict) -> np.ndarray:
    # A file with a larger batch gets the sample repeatedly.
    x = np.broadcast_to(sample, detail["shape"]).astype(np.float32)
    if constants["scale"] is not None:
        x = x * np.float32(constants["scale"]) + np.float32(constants["offset"])
    return _quantized(x, detail)


def _quantized(x: np.ndarray, detail: dict) -> np.ndarray:
    """Returns float32 network input in the file's input dtype, rounded to nearest.

    Of halves, up to the error of float32, pixels are stored as they are, as by
    common/tflite/litert.py.
    """
    dtype, (scale, zero_point) = np.dtype(detail["dtype"]), detail["quantization"]
    if dtype == np.float32:
        return x
    limits = np.iinfo(dtype)
    steps, half = x / np.float32(scale), np.float32(0.501)
    is_down = zero_point - limits.min > limits.max - zero_point
    rounded = np.ceil(steps - half) if is_down else np.floor(steps + half)
    return np.clip(rounded + zero_point, limits.min, limits.max).astype(dtype)


def _noise(detail: dict, random: np.random.RandomState) -> np.ndarray:
    dtype, shape = np.dtype(detail["dtype"]), detail["shape"]
    if dtype.kind == "f":
        return random.uniform(-1, 1, shape).astype(dtype)
    if dtype.kind == "b" or (dtype.kind in "iu" and dtype.itemsize > 2):
        # Integers without a scale may be numbers of words: 0 and 1 exist in every table.
        return random.randint(0, 2, shape).astype(dtype)
    if dtype.kind not in "iu":
        raise RunnerError(f"it has an input of type {dtype}, which cannot be made at random")
    if not detail["quantization"][0]:
        limits = np.iinfo(dtype)
        return random.randint(limits.min, limits.max + 1, shape).astype(dtype)
    return _quantized(random.uniform(-1, 1, shape).astype(np.float32), detail)


def _end_with_stdin() -> None:
    # Not sys.stdin: at its own end Python could not close it while this thread reads.
    while os.read(0, 4096):
        pass
    os._exit(1)


def _single(request: dict) -> dict:
    (file,) = request["files"]
    # First, because importing LiteRT is not part of the file's initialization.
    _litert()
    _check_hash(file)
    before = _peak_memory()
    start = time.perf_counter()
    model = Model(file["path"], request["threads"], request["library"])
    initialized = time.perf_counter()
    model.set_input(model.noise())
    ready = time.perf_counter()
    model.run()
    first = time.perf_counter()
    for _ in range(_INVOKES_FOR_MEMORY):
        model.run()
    peak = _peak_memory()
    return {
        "initialization_ms": (initialized - start) * 1e3,
        "first_ms": (first - ready) * 1e3,
        "peak_memory_bytes": peak,
        "model_memory_bytes": peak - before,
        # Last, because the samples' own memory must not count.
        "outputs": _encoded_outputs(model, request),
    }


def _together(request: dict) -> dict:
    machine = describe_machine()
    models = [
        Model(file["path"], request["threads"], request["library"]) for file in request["files"]
    ]
    found = time_interleaved(models, request["warmup"], request["runs"], request.get("cooldown", 0))
    return {**found, "machine": machine}


def _encoded_outputs(model: Model, request: dict) -> list[dict] | None:
    if request["samples"] is None:
        return None
    with np.load(request["samples"], allow_pickle=False) as arrays:
        samples = [arrays[one["array"]] for one in request["inputs"]]
    return [
        {
            "base64": base64.b64encode(output.tobytes()).decode(),
            "dtype": str(output.dtype),
            "shape": list(output.shape),
        }
        for output in model.outputs(samples, request["inputs"])
    ]


def _warm_up(models: list, inputs: list, least: int) -> tuple[int, bool | None]:
    if not least:
        return 0, None
    start = time.monotonic()
    _interleaved_rounds(models, inputs, least)
    previous = None
    for window in range(1, _MOST_WINDOWS + 1):
        medians = np.median(_interleaved_rounds(models, inputs, _WINDOW), axis=1)
        if previous is not None and (np.abs(medians / previous - 1) <= _STABLE).all():
            return least + window * _WINDOW, True
        if time.monotonic() - start > _MOST_SECONDS:
            break
        previous = medians
    return least + window * _WINDOW, False


def _interleaved_rounds(
    models: list, inputs: list, runs: int, cooldown: float = 0
) -> list[list[float]]:
    timings: list[list[float]] = [[] for _ in models]
    for _ in range(runs):
        if cooldown:
            time.sleep(cooldown)
            _interleaved_rounds(models, inputs, 1)
        for index, model in enumerate(models):
            # Every time, because a runtime may reuse the input's memory.
            model.set_input(inputs[index])
            timings[index].append(timed(model.run))
            report_progress()
    return timings


def _litert() -> Any:
    for module in _PACKAGES:
        try:
            return importlib.import_module(module + ".interpreter")
        except ImportError:
            continue
    raise RunnerError(
        f"no LiteRT is installed; {sys.executable} -m pip install ai-edge-litert "
        "(or tflite-runtime)"
    )


def _litert_version() -> str:
    for module, package in _PACKAGES.items():
        try:
            version = importlib.import_module(module).__version__
        except (ImportError, AttributeError):
            continue
        return f"{package} {version}"
    return "none"


def _check_hash(file: dict) -> None:
    if hashlib.sha256(Path(file["path"]).read_bytes()).hexdigest() != file["sha256"]:
        raise RunnerError(f"{file['path']} is not the artifact's file; copy it again")


def _cpu_model() -> str:
    info = _cpu_info()
    # x86 has "model name" and "flags"; Raspberry Pi and similar boards have "Model" and "Features".
    models = [value for key, value in info if key in ("model name", "Model")]
    known = {flag for key, value in info if key in ("flags", "Features") for flag in value.split()}
    model = models[0] if models else platform.processor() or platform.machine()
    return " with ".join([model, *[name for name in _VECTORS if name in known][:1]])


def _cpu_info() -> list[tuple[str, str]]:
    lines = (_read("/proc/cpuinfo") or "").splitlines()
    parts = [line.partition(":") for line in lines]
    return [(key.strip(), value.strip()) for key, _, value in parts]


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip().strip("\0")
    except OSError:
        return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"


def _peak_memory() -> int:
    """Returns the largest resident memory of this process so far, in bytes."""
    # Not ru_maxrss, which a new process inherits from its parent on Linux.
    for line in (_read("/proc/self/status") or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    # Imported here, because Windows does not have it and only this function needs it.
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    serve(measure)
