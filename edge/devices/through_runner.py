"""Measuring through `edge.running.runner`: what host, ssh and coral have in common."""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from common.cli import UserError
from common.manifest import SAMPLES
from edge.devices.device import DeviceLostError, Job, Result
from edge.running import worker
from edge.running.measurement import accuracy, compare_outputs, drift, noise_images, statistics

_DTYPES = ("float32", "int8", "uint8", "int16")
_MEASURED = ("initialization_ms", "first_ms", "peak_memory_bytes", "model_memory_bytes")
_DISTURBANCES = ("warmup", "warmup_stable", "state_before", "state_after", "machine")


@dataclass(frozen=True)
class Place:
    """Where the runner runs.

    Attributes:
      call: sends it a request and returns its reply, or raises UserError.
      files: by name of the artifact's file, what is loaded there: {"path", "sha256"}.
      samples: the path there of an .npz file with the images; None for no images.
      library: the delegate's library, or None.
    """

    call: Callable[[dict], dict]
    files: Mapping[str, dict]
    samples: str | None
    library: str | None = None


def call_here(request: dict) -> dict:
    """Runs the runner in a fresh process of this machine."""
    return worker.call("edge.running.runner", request)


def measure(job: Job, place: Place) -> Iterator[tuple[Result, np.ndarray | None]]:
    """Measures the job's files: each in a process of its own, then all in turn in one more.

    Yields:
      Each file's result, and its raw outputs [n, classes] for the samples.

    Raises:
      DeviceLostError: the place does not answer any more.
    """
    singles, errors = {}, {}
    for name in job.files:
        try:
            reply = place.call({"task": "single", **_request(job, place, [name])})
            singles[name] = (reply, _decode(reply["outputs"], job, name))
        except DeviceLostError:
            raise
        except UserError as error:
            errors[name] = str(error)
    timings, common = _time_together(job, place, list(singles))
    for name in job.files:
        if name in errors:
            yield Result(name, error=errors[name]), None
        else:
            reply, outputs = singles[name]
            values = {
                "latency_ms": statistics(timings[name]),
                "drift": drift(timings[name]),
                **{key: reply[key] for key in _MEASURED},
                **common,
                **_accuracy(job, outputs),
            }
            yield Result(name, values=values), outputs


def measure_and_compare(job: Job, place: Place, samples: Path) -> Iterator[Result]:
    """Measures as `measure`, and adds how each file's outputs differ from this machine's.

    Args:
      samples: here, what `place.samples` is there.

    Raises:
      DeviceLostError: the place does not answer any more.
    """
    for result, outputs in measure(job, place):
        yield result if outputs is None else _compared(job, result, outputs, samples)


def at(place: str | None, result: Result) -> Result:
    """Returns a result that says where it was measured."""
    if result.values is None:
        return result
    return replace(result, values={"place": place, **result.values})


def files_here(job: Job) -> dict[str, dict]:
    """Returns where this machine has the job's files."""
    artifact = job.artifact
    return {
        name: {"path": str(artifact.path(name).resolve()), "sha256": artifact.files[name]["sha256"]}
        for name in job.files
    }


@contextmanager
def samples_file(job: Job) -> Iterator[Path]:
    """Gives the artifact's samples, or seeded noise where it has none, as an .npz file."""
    if job.artifact.manifest["samples"] is not None:
        yield (job.artifact.folder / SAMPLES).resolve()
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / SAMPLES
        np.savez(path, images=noise_images(job.agreement_images, job.artifact.input_shape))
        yield path


def _compared(job: Job, result: Result, outputs: np.ndarray, samples: Path) -> Result:
    here = Place(call_here, files_here(job), str(samples))
    request = {**_request(job, here, [result.file]), "cores": [], "threads": 1}
    try:
        reply = call_here({"task": "single", **request})
        expected = _decode(reply["outputs"], job, result.file)
    except UserError as error:
        return Result(result.file, error=f"this machine cannot run it to compare: {error}")
    if expected is None or expected.dtype != outputs.dtype:
        return Result(result.file, error="it gave other outputs than here; convert the model again")
    agreement = compare_outputs(expected, outputs)
    return replace(result, values={**result.values, "agreement": agreement})


def _time_together(job: Job, place: Place, names: list[str]) -> tuple[dict, dict]:
    if not names:
        return {}, {}
    request = {**_request(job, place, names), "warmup": job.warmup, "runs": job.runs}
    reply = place.call({"task": "together", **request})
    timings = dict(zip(names, reply["milliseconds"], strict=True))
    return timings, {key: reply[key] for key in _DISTURBANCES}


def _accuracy(job: Job, outputs: np.ndarray | None) -> dict:
    samples = job.artifact.samples()
    # Noise, which the outputs may be of instead, has no classes.
    return accuracy(outputs, None if samples is None or outputs is None else samples[1])


def _request(job: Job, place: Place, names: list[str]) -> dict:
    constants = job.artifact.manifest["input"]["preprocessing"]
    return {
        "files": [place.files[name] for name in names],
        "threads": job.threads,
        "cores": list(job.options["cores"]),
        "library": place.library,
        "samples": place.samples,
        "scale": constants["scale"],
        "offset": constants["offset"],
    }


def _decode(outputs: dict | None, job: Job, name: str) -> np.ndarray | None:
    """Returns the reply's outputs, checked: the reply may come from another machine."""
    if outputs is None:
        return None
    manifest = job.artifact.manifest
    images = manifest["samples"]["images"] if manifest["samples"] else job.agreement_images
    expected = (images, manifest["classes"])
    try:
        shape, dtype = tuple(outputs["shape"]), outputs["dtype"]
        content = base64.b64decode(outputs["base64"], validate=True)
        if shape == expected and dtype in _DTYPES:
            return np.frombuffer(content, dtype).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{name}: the runner's reply is damaged ({error}); run it again") from error
    raise UserError(
        f"{name} gave {dtype} outputs of shape {shape}, not {expected} as the manifest says; "
        "convert the model again"
    )
