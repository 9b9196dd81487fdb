"""Measures with `edge.running.runner`: what host, ssh and coral have in common."""

import base64
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from common.cli import UserError
from common.manifest import SAMPLES
from edge.devices.device import DeviceLostError, Job, Result
from edge.running import worker
from edge.running.measurement import compare_outputs, drift, statistics
from edge.running.samples import correctness, noise_samples, sample_inputs

_DTYPES = ("float32", "int8", "uint8", "int16")
_MEASURED = ("initialization_ms", "first_ms", "peak_memory_bytes", "model_memory_bytes")
_Key = TypeVar("_Key")
_Found = TypeVar("_Found")
_DISTURBANCES = ("warmup", "warmup_stable", "state_before", "state_after", "machine")


@dataclass(frozen=True)
class Place:
    """Where the runner runs: on this machine, or on a board.

    Attributes:
      call: sends the runner a request and returns its reply, or raises UserError.
      files: by name in the artifact, the file to load: {"path" at this place, "sha256"}.
      samples: path at this place of an .npz file with the samples; None for none.
      library: the delegate's library, or None.
    """

    call: Callable[[dict], dict]
    files: Mapping[str, dict]
    samples: str | None
    library: str | None = None


def call_here(request: dict, silence: float) -> dict:
    """Runs the runner in a fresh process here, which may be without progress for some seconds."""
    return worker.call("edge.running.runner", request, silence)


def place_here(job: Job, samples: str | None) -> Place:
    """Returns this machine's CPU as a place for the job's files."""
    call = partial(call_here, silence=job.options["timeout"])
    return Place(call, files_here(job), samples)


def measure(job: Job, place: Place) -> Iterator[tuple[Result, list[np.ndarray] | None]]:
    """Measures the job's files: each in its own process, then all in interleaved rounds in one.

    With a delegate, they are timed in blocks, each in one more process of its own: an accelerator
    loads the weights again whenever another file takes its turn.

    Yields:
      Each file's result, and its raw outputs, each [n, ...], for the samples.

    Raises:
      DeviceLostError: the place does not answer any more.
    """
    singles, errors = _each(job.files, lambda name: _measure_single(job, place, name))
    groups = [(name,) for name in singles] if place.library else [tuple(singles)]
    timed, more = _each(filter(None, groups), lambda names: _time_together(job, place, names))
    errors.update({name: error for names, error in more.items() for name in names})
    timings = {name: found[name] for found in timed.values() for name in found}
    for name in job.files:
        if name in errors:
            yield Result(name, error=errors[name]), None
        else:
            values, outputs = singles[name]
            yield Result(name, values={**timings[name], **values}), outputs


def measure_and_compare(job: Job, place: Place, samples: Path | None) -> Iterator[Result]:
    """Measures like `measure`, and adds how each file's outputs differ from this machine's.

    Args:
      job: what to measure.
      place: where.
      samples: this machine's copy of `place.samples`.

    Raises:
      DeviceLostError: the place does not answer any more.
    """
    for result, outputs in measure(job, place):
        yield result if outputs is None else _compared(job, result, outputs, samples)


def at(place: str | None, result: Result) -> Result:
    """Returns the result with the place where it was measured."""
    if result.values is None:
        return result
    return replace(result, values={"place": place, **result.values})


def files_here(job: Job) -> dict[str, dict]:
    """Returns path and hash of the job's files on this machine."""
    artifact = job.artifact
    return {
        name: {"path": str(artifact.path(name).resolve()), "sha256": artifact.files[name]["sha256"]}
        for name in job.files
    }


@contextmanager
def samples_file(job: Job) -> Iterator[Path | None]:
    """Yields an .npz file with the artifact's samples, or with seeded noise if it has none.

    None for files without an artifact, whose inputs are not known.
    """
    manifest = job.artifact.manifest
    if manifest["samples"] is not None:
        yield (job.artifact.folder / SAMPLES).resolve()
    elif not manifest["inputs"]:
        yield None
    else:
        with TemporaryDirectory() as folder:
            path = Path(folder) / SAMPLES
            np.savez(path, **noise_samples(job.agreement_images, manifest))
            yield path


def outputs_here(job: Job, file: str, samples: Path) -> list[np.ndarray] | None:
    """Returns a file's raw outputs, each [n, ...], on this machine's CPU.

    Args:
      job: the file's.
      file: its name.
      samples: an .npz file with the samples.

    Raises:
      UserError: this machine cannot run it.
    """
    here = place_here(job, str(samples))
    request = {**_request(job, here, [file]), "cores": [], "threads": 1}
    return _decode(here.call({"task": "single", **request})["outputs"], job, file)


def _compared(job: Job, result: Result, outputs: list[np.ndarray], samples: Path) -> Result:
    try:
        expected = outputs_here(job, result.file, samples)
    except UserError as error:
        return Result(result.file, error=f"this machine cannot run it to compare: {error}")
    if expected is None or [x.dtype for x in expected] != [x.dtype for x in outputs]:
        return Result(result.file, error="its outputs differ in type; convert the model again")
    agreement = compare_outputs(expected, outputs)
    return replace(result, values={**result.values, "agreement": agreement})


def _each(keys: Iterable[_Key], task: Callable[[_Key], _Found]) -> tuple[dict, dict[_Key, str]]:
    """Returns the results of a task, and the errors where it failed, both by key."""
    found, errors = {}, {}
    for key in keys:
        try:
            found[key] = task(key)
        except DeviceLostError:
            raise
        except UserError as error:
            errors[key] = str(error)
    return found, errors


def _measure_single(job: Job, place: Place, name: str) -> tuple[dict, list[np.ndarray] | None]:
    reply = place.call({"task": "single", **_request(job, place, [name])})
    values = {key: _number(reply.get(key), key) for key in _MEASURED}
    outputs = _decode(reply.get("outputs"), job, name)
    return {**values, **correctness(job.artifact, name, outputs)}, outputs


def _time_together(job: Job, place: Place, names: tuple[str, ...]) -> dict[str, dict]:
    """Returns the timings of files that take turns in one process, by name."""
    request = {
        **_request(job, place, names),
        **{"warmup": job.warmup, "runs": job.runs, "cooldown": job.options["cooldown"]},
    }
    reply = place.call({"task": "together", **request})
    common = {key: reply.get(key) for key in _DISTURBANCES}
    return {
        name: {"latency_ms": statistics(times), "drift": drift(times), **common}
        for name, times in zip(names, _timings(reply, len(names), job.runs), strict=True)
    }


def _timings(reply: dict, files: int, runs: int) -> list[list[float]]:
    """Returns the times of each file, checked: the reply may come from another machine."""
    found = reply.get("milliseconds")
    complete = isinstance(found, list) and [isinstance(x, list) and len(x) for x in found]
    if complete != [runs] * files:
        raise UserError(f"the runner's reply lacks times of {runs} runs; run it again")
    return [[_number(time, "a time") for time in times] for times in found]


def _number(value: Any, name: str) -> float:
    """Returns a time or size of a reply, checked."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise UserError(f"the runner's reply has {value!r} as {name}; run it again")
    return value


def _request(job: Job, place: Place, names: Sequence[str]) -> dict:
    return {
        "files": [place.files[name] for name in names],
        "threads": job.threads,
        "cores": list(job.options["cores"]),
        "library": place.library,
        "samples": place.samples,
        "inputs": sample_inputs(job.artifact.manifest),
    }


def _decode(outputs: list | None, job: Job, name: str) -> list[np.ndarray] | None:
    """Returns the reply's outputs, checked: the reply may come from another machine."""
    if outputs is None:
        return None
    manifest = job.artifact.manifest
    count = manifest["samples"]["images"] if manifest["samples"] else job.agreement_images
    shapes = [(count, *fields["shape"][1:]) for fields in manifest["outputs"]]
    if not isinstance(outputs, list) or len(outputs) != len(shapes):
        raise UserError(f"{name}: the runner's reply is damaged (its outputs); run it again")
    return [_decode_one(*pair, name) for pair in zip(outputs, shapes, strict=True)]


def _decode_one(output: dict, expected: tuple[int, ...], name: str) -> np.ndarray:
    try:
        shape, dtype = tuple(output["shape"]), output["dtype"]
        content = base64.b64decode(output["base64"], validate=True)
        if shape == expected and dtype in _DTYPES:
            return np.frombuffer(content, dtype).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{name}: the runner's reply is damaged ({error}); run it again") from error
    raise UserError(
        f"{name} gave {dtype} outputs of shape {shape}, not {expected} as the manifest says; "
        "convert the model again"
    )
