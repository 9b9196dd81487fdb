"""Serves a page that measures an artifact's files in a browser, and tries them on photos.

The page works on this machine and on phones; nothing leaves the browser but a measurement that its
user sends, which is appended to the output.

Example:
  shufflenet serve
  shufflenet serve --artifact=bccd
  shufflenet serve --artifact=artifact --listen=0.0.0.0
  shufflenet serve --artifact=artifact --export=site
"""

import queue
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from common import cli
from common.artifact import Artifact
from common.files import check_appendable
from common.included import example_note, find_artifact
from edge.browser.address import addresses
from edge.browser.collection import Collection, Ending, Pass
from edge.browser.plan import Plan
from edge.browser.site import export, make_site
from edge.devices import Job
from edge.devices import flags as device_flags
from edge.devices.browser import Results, check_shown, make_plan, make_server
from edge.devices.flags import MAX_RUNS, MAX_THREADS
from edge.devices.through_runner import samples_file
from edge.records import make_record
from edge.running.measurement import append_measurements, describe_machine, device_name

_ARTIFACT = flags.DEFINE_string(
    "artifact",
    None,
    "The folder that shufflenet convert wrote, or an example that travels with the package: "
    "cifar10 (the default), or bccd, a detector.",
)
_FILES = flags.DEFINE_list("files", [], "Names of the files to measure; by default all.")
_THREADS = flags.DEFINE_integer("threads", 1, "Threads of WebAssembly, where a browser has them.")
_WARMUP = flags.DEFINE_integer(
    "warmup", 10, "Minimum number of inferences before the timed ones. 0: none."
)
_RUNS = flags.DEFINE_integer("runs", 50, "Timed inferences of each file.")
_OUTPUT = flags.DEFINE_string(
    "output", "measurements.jsonl", "File to which measurements that browsers send are appended."
)
_EXPORT = flags.DEFINE_string(
    "export", None, "Instead of serving, write the page into this folder, for any web server."
)
device_flags.define_cooldown()
device_flags.define_browser(port=8000)
flags.adopt_module_key_flags(device_flags)

# Seconds without a sign of a page that measures, after which what it has is a result.
_SILENCE = 900
_POLL_SECONDS = 1
# An artifact without samples gets noise.
_IMAGES = 32


def main() -> None:
    """Reads the flags; serves until it is interrupted, or exports."""
    job = _job()
    with samples_file(job) as samples:
        plan = make_plan(job, samples)
        if _EXPORT.value:
            export(make_site(plan, has_server=False), Path(_EXPORT.value))
            print(f"{_EXPORT.value}: the page, for any web server")
            return
        output = Path(_OUTPUT.value)
        check_appendable(output)
        _serve(job, plan, Results(job, samples), output)


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


def _job() -> Job:
    cli.check_bounds("threads", _THREADS.value, 1, MAX_THREADS)
    cli.check_bounds("warmup", _WARMUP.value, 0, MAX_RUNS)
    cli.check_bounds("runs", _RUNS.value, 1, MAX_RUNS)
    artifact = Artifact.open(find_artifact(_ARTIFACT.value))
    check_shown(artifact)
    if not _ARTIFACT.value:
        print(example_note("--artifact"), file=sys.stderr)
    for name in _FILES.value:
        artifact.path(name)  # Rejects an unknown name.
    named = ("cooldown", "listen", "port", "certificate", "key")
    return Job(
        artifact=artifact,
        files=tuple(_FILES.value) or tuple(sorted(artifact.files)),
        threads=_THREADS.value,
        warmup=_WARMUP.value,
        runs=_RUNS.value,
        agreement_images=_IMAGES,
        options={name: flags.FLAGS[name].value for name in named},
    )


def _serve(job: Job, plan: Plan, results: Results, output: Path) -> None:
    collection = Collection(plan)
    machine = describe_machine()
    with make_server(job, make_site(plan, has_server=True), collection) as server:
        print(f"{addresses(server, job.options['listen'])}\nCtrl-C ends it.", flush=True)
        for found in _sent(collection):
            for result in results.of(found):
                if result.error is not None:
                    print(f"{result.file}: {result.error}", file=sys.stderr)
                    continue
                record = make_record(job, "serve", "browser", result, machine)
                append_measurements(output, [record])
                print(f"{output}: {_line(record)}", flush=True)


def _sent(collection: Collection) -> Iterator[Pass]:
    """Yields what browsers send, until Ctrl-C and all that was sent before it.

    A page has said that it is here. A second Ctrl-C does not wait for it.
    """
    stopped = threading.Event()

    def stop(*unused: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    signal.signal(signal.SIGINT, stop)
    while not (stopped.is_set() and collection.finished.empty()):
        try:
            found = collection.finished.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            collection.give_up(_SILENCE)
            continue
        if not isinstance(found, Ending):
            yield found
    raise KeyboardInterrupt


def _line(record: dict) -> str:
    return f"{record['file']}, {device_name(record)}, {record['latency_ms']['median']:.3f} ms"


if __name__ == "__main__":
    entry_point()
