"""A browser: LiteRT.js in a Chromium of this machine, or in the browsers of phones."""

import contextlib
import itertools
import math
import queue
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.artifact import Artifact
from common.choices import choose
from common.cli import UserError
from common.manifest import DETECTION, PIXELS, sample_array
from edge.browser import runtime
from edge.browser.address import addresses
from edge.browser.chromium import Chromium, find_chromium
from edge.browser.collection import Collection, Ending, FilePart, Pass
from edge.browser.outputs import stored_outputs
from edge.browser.plan import ACCELERATORS, Plan, output_shape
from edge.browser.server import Server
from edge.browser.site import Page, make_site
from edge.devices.device import Job, Result
from edge.devices.through_runner import outputs_here, samples_file
from edge.running.measurement import compare_outputs, drift, statistics
from edge.running.samples import correctness

_POLL_SECONDS = 1
# Of the outputs of all files together, which a page keeps and sends. A detector has thousands of
# numbers for each image.
_MAX_OUTPUT_BYTES = 16 * 2**20


class Browser:
    """Measures with LiteRT.js; files take turns, run by run, for each accelerator.

    Times are those of the page's own clock and include the reading of the outputs. A page sends
    what it has every few seconds: if its tab closes, the runs until then count.
    """

    def takes(self, entry: dict) -> bool:
        """Returns True: integer inputs and outputs get a QUANTIZE and a DEQUANTIZE."""
        return True

    def prepare(self, job: Job) -> None:
        """Checks the artifact, that LiteRT.js was fetched, and that there is a browser.

        Raises:
          UserError: something is missing, or the page cannot show the artifact.
        """
        check_shown(job.artifact)
        choose("browser_accelerators", job.options["browser_accelerators"], ACCELERATORS)
        runtime.find_runtime()
        if not job.options["wait"]:
            find_chromium(job.options["browser"])

    def run(self, job: Job) -> Iterator[Result]:
        """Measures in a browser here, or in as many of phones as `wait` says."""
        with samples_file(job) as samples, contextlib.ExitStack() as stack:
            plan = make_plan(job, samples, sends=True, starts=not job.options["wait"])
            collection = Collection(plan)
            server = stack.enter_context(make_server(job, make_site(plan, True), collection))
            chromium = None
            if job.options["wait"]:
                where = addresses(server, job.options["listen"])
                print(f"Open this on a phone:\n{where}", flush=True)
            else:
                url = server.url("localhost")
                chromium = stack.enter_context(Chromium(url, job.options["browser"]))
            results = Results(job, samples)
            yield from _collect(job, collection, results, chromium)

    def clean_up(self) -> None:
        """Does nothing: server and browser have ended."""


class Results:
    """Makes results of what pages sent, comparing them with this machine's outputs.

    Args:
      job: what was to be measured.
      samples: an .npz file with the images that the pages got.
    """

    def __init__(self, job: Job, samples: Path):
        self._job = job
        self._samples = samples
        self._outputs: dict[str, np.ndarray | None] = {}

    def of(self, found: Pass) -> Iterator[Result]:
        """Yields each file's result."""
        runs = found.runs()
        for name in self._job.files:
            part = found.files.get(name)
            if part is None or (part.error is None and not runs):
                yield Result(name, error=f"{found.accelerator}: it was stopped before a timed run")
            elif part.error is not None:
                yield Result(name, error=f"{found.accelerator}: {part.error}")
            else:
                yield Result(name, values=self._values(found, name, part, runs))

    def _values(self, found: Pass, name: str, part: FilePart, runs: int) -> dict:
        machine, conditions = found.machine, found.conditions
        times = part.milliseconds[:runs]
        return {
            "place": place(machine),
            "delegate": found.accelerator,
            "threads": conditions["threads"],
            "warmup": conditions["warmup"],
            "warmup_stable": conditions["warmup_stable"],
            "machine": _machine(machine),
            "latency_ms": statistics(times),
            "drift": drift(times),
            "initialization_ms": part.initialization_ms,
            "first_ms": part.first_ms,
            **self._compared(name, part.outputs),
            "page": {
                "run": found.run,
                "complete": found.complete,
                "user_agent": machine["user_agent"],
                "gpu": machine["gpu"],
                **{
                    key: conditions[key]
                    for key in ("timer_ms", "per_time", "interruptions", "isolated")
                },
            },
        }

    def _compared(self, name: str, outputs: np.ndarray | None) -> dict:
        """Returns accuracy, or a detector's AP, and agreement with this machine's outputs."""
        if outputs is None:
            return {**correctness(self._job.artifact, name, None), "agreement": None}
        outputs = stored_outputs(self._job.artifact, name, outputs)
        found = correctness(self._job.artifact, name, [outputs])
        expected = self._expected(name)
        if expected is None or expected.dtype != outputs.dtype:
            return {**found, "agreement": None}
        agreement = compare_outputs([expected[: len(outputs)]], [outputs])
        return {**found, "agreement": agreement}

    def _expected(self, name: str) -> np.ndarray | None:
        """Returns this machine's outputs; None where it cannot run the file."""
        if name not in self._outputs:
            try:
                found = outputs_here(self._job, name, self._samples)
            except UserError:
                found = None
            self._outputs[name] = None if found is None else found[0]
        return self._outputs[name]


def check_shown(artifact: Artifact) -> None:
    """Raises UserError unless the page can show an artifact: of a classifier or a detector."""
    if artifact.folder is None:
        raise UserError("device browser needs --artifact, which says what the files take and give")
    if artifact.task != DETECTION:
        artifact.check_classifier()
    if sample_array(artifact.manifest, 0) != PIXELS:
        raise UserError(
            f"{artifact.folder} has samples that are no pixels, which a page does not take; "
            "convert it with uint8 images, or without samples"
        )


def place(machine: dict) -> str:
    """Returns a browser and its device in a few words.

    Examples:
      >>> place({"browser": "Chrome 150.0.1", "platform": "Android 15", "model": "Pixel 9"})
      'Chrome 150 on Android 15, Pixel 9'
    """
    browser = (machine["browser"] or "unknown browser").partition(".")[0]
    system = ", ".join(filter(None, (machine["platform"], machine["model"])))
    return f"{browser} on {system or 'an unknown system'}"


def make_plan(job: Job, samples: Path, sends: bool = False, starts: bool = False) -> Plan:
    """Returns what pages measure for a job.

    Args:
      job: the files, and how often.
      samples: an .npz file with the images.
      sends, starts: as in `Plan`.
    """
    known = job.artifact.samples()
    with np.load(samples, allow_pickle=False) as arrays:
        images = arrays[PIXELS][: _most_images(job)]
    return Plan(
        artifact=job.artifact,
        files=job.files,
        images=images,
        labels=None if known is None else known[1][: len(images)].tolist(),
        accelerators=tuple(job.options["browser_accelerators"]),
        threads=job.threads,
        warmup=job.warmup,
        runs=job.runs,
        cooldown=job.options["cooldown"],
        sends=sends,
        starts=starts,
    )


def _most_images(job: Job) -> int:
    """Returns the number of images whose outputs a page can keep and send."""
    one = 4 * math.prod(output_shape(job.artifact)) * len(job.files)
    return max(1, _MAX_OUTPUT_BYTES // one)


def make_server(job: Job, site: dict[str, Page], collection: Collection) -> Server:
    """Returns a server as the job's options say.

    Raises:
      UserError: the address or the certificate cannot be used.
    """
    options = job.options
    if bool(options["certificate"]) != bool(options["key"]):
        raise UserError("--certificate and --key belong together; name both PEM files")
    files = [Path(options[name]) if options[name] else None for name in ("certificate", "key")]
    return Server(site, collection, options["listen"], options["port"], *files)


def _collect(
    job: Job, collection: Collection, results: Results, chromium: Chromium | None
) -> Iterator[Result]:
    """Yields results until every page has said that it is finished.

    Those of a browser here come at its end: comparing outputs would disturb what it measures next.
    """
    errors: list[str] = []
    later: list[Pass] = []
    try:
        for found in _messages(job, collection, chromium):
            if isinstance(found, Ending):
                errors += [found.error] if found.error else []
            elif chromium is None:
                yield from results.of(found)
            else:
                later.append(found)
    except (UserError, KeyboardInterrupt):
        yield from itertools.chain.from_iterable(map(results.of, later))
        raise
    yield from itertools.chain.from_iterable(map(results.of, later))
    if errors:
        raise UserError(f"the page could not measure: {'; '.join(errors)}")


def _messages(
    job: Job, collection: Collection, chromium: Chromium | None
) -> Iterator[Pass | Ending]:
    """Yields what pages send, until as many as are waited for are finished."""
    waiting = job.options["wait"] or 1
    while waiting:
        try:
            found = collection.finished.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            collection.give_up(job.options["timeout"])
            if chromium is not None:
                _check_alive(collection, chromium, job.options["timeout"])
            continue
        waiting -= isinstance(found, Ending)
        yield found


def _check_alive(collection: Collection, chromium: Chromium, timeout: float) -> None:
    chromium.check()
    if collection.silence() > timeout and collection.finished.empty():
        raise UserError(
            f"the browser said nothing for {timeout:g} seconds; allow more time with --timeout"
        )


def _machine(machine: dict) -> dict:
    """Returns the field `machine` of a record (docs/measurements.md)."""
    return {
        "cpu": ", ".join(filter(None, (machine["platform"], machine["model"]))) or None,
        "cores": machine["cores"],
        "governor": None,
        "load_average": None,
        "platform": machine["platform"],
        "python": None,
        "litert": runtime.NAME,
        "browser": machine["browser"],
    }
