import base64
import dataclasses
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from common.artifact import Artifact
from common.cli import UserError
from common.files import sha256
from edge.devices import DeviceLostError, Job, through_runner
from edge.devices.through_runner import Place

FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"
HOSTILE = Path(__file__).resolve().parents[4] / "shared/fixtures/hostile"
CLASSES = 10


@pytest.fixture
def job(artifact_dir):
    return Job(Artifact.open(artifact_dir), (FLOAT, INT8), 1, 1, 2, 8, {"cores": (1, 0)})


def encoded(outputs):
    return [
        {
            "base64": base64.b64encode(outputs.tobytes()).decode(),
            "dtype": str(outputs.dtype),
            "shape": list(outputs.shape),
        }
    ]


class FakeRunner:
    """Answers like the runner; the first file crashes it, unless told otherwise."""

    def __init__(self, outputs, crashes="there/0", **changes):
        self.outputs, self.crashes, self.changes = outputs, crashes, changes
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        reply = {**self._reply(request), **self.changes.get(request["task"], {})}
        return {key: value for key, value in reply.items() if value != "missing"}

    def _reply(self, request):
        if request["task"] == "single":
            if request["files"][0]["path"] == self.crashes:
                raise UserError("its process died with SIGSEGV")
            found = dict.fromkeys(("initialization_ms", "first_ms"), 1.0)
            found |= dict.fromkeys(("peak_memory_bytes", "model_memory_bytes"), 2)
            return {**found, "outputs": self.outputs}
        moments = {"state_before": {}, "state_after": {}, "machine": {}}
        times = [3.0, 5.0]
        return {
            "milliseconds": [times] * len(request["files"]),
            **{"warmup": 30, "warmup_stable": True},
            **moments,
        }


def place(call, library=None):
    files = {name: {"path": f"there/{i}", "sha256": ""} for i, name in enumerate((FLOAT, INT8))}
    return Place(call, files, "there/samples.npz", library)


def zeros():
    return encoded(np.zeros((100, CLASSES), np.int8))


def test_a_crash_does_not_stop_the_others(job):
    _, labels = job.artifact.samples()
    outputs = np.eye(CLASSES, dtype=np.int8)[labels]
    call = FakeRunner(encoded(outputs))
    (bad, _), (good, found) = through_runner.measure(job, place(call, "libedgetpu"))
    assert (bad.file, bad.error) == (FLOAT, "its process died with SIGSEGV")
    assert (good.file, good.values["latency_ms"]["median"]) == (INT8, 4.0)
    assert (good.values["accuracy"], good.values["accuracy_images"]) == (1.0, 100)
    assert (good.values["warmup"], good.values["drift"]) == (30, None)
    np.testing.assert_array_equal(found[0], outputs)
    first, _, together = call.requests
    assert (first["cores"], first["library"], first["threads"]) == ([1, 0], "libedgetpu", 1)
    assert [file["path"] for file in together["files"]] == ["there/1"]
    assert (together["warmup"], together["runs"]) == (1, 2)


@pytest.mark.parametrize(("library", "groups"), [(None, [[0, 1]]), ("libedgetpu", [[0], [1]])])
def test_files_take_turns_on_a_cpu_and_are_timed_in_blocks_on_an_accelerator(job, library, groups):
    call = FakeRunner(zeros(), crashes=None)
    results = list(through_runner.measure(job, place(call, library)))
    assert [result.values["latency_ms"]["mean"] for result, _ in results] == [4.0, 4.0]
    together = [request for request in call.requests if request["task"] == "together"]
    found = [[file["path"] for file in request["files"]] for request in together]
    assert found == [[f"there/{index}" for index in group] for group in groups]
    # First each file alone, as before.
    assert [request["task"] for request in call.requests[:2]] == ["single"] * 2


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("together", {"milliseconds": [[1.0, math.nan]]}, "has nan as a time; run it again"),
        ("together", {"milliseconds": [[1.0, -0.5]]}, "has -0.5 as a time; run it again"),
        ("together", {"milliseconds": [[1.0, None]]}, "has None as a time; run it again"),
        ("together", {"milliseconds": [[1.0, "2"]]}, "has '2' as a time; run it again"),
        ("together", {"milliseconds": [[1.0]]}, "lacks times of 2 runs; run it again"),
        ("together", {"milliseconds": []}, "lacks times of 2 runs; run it again"),
        ("together", {"milliseconds": "missing"}, "lacks times of 2 runs; run it again"),
        ("single", {"first_ms": math.inf}, "has inf as first_ms; run it again"),
        ("single", {"first_ms": -1.0}, "has -1.0 as first_ms; run it again"),
        ("single", {"initialization_ms": "missing"}, "has None as initialization_ms; run it"),
    ],
)
def test_times_that_cannot_be_are_errors(job, task, changes, message):
    call = FakeRunner(zeros(), **{task: changes})
    results = list(through_runner.measure(job, place(call)))
    assert [result.values for result, _ in results] == [None, None]
    assert message in results[1][0].error


def test_a_lost_device_ends_it(job):
    def lost(request):
        raise DeviceLostError("gone")

    with pytest.raises(DeviceLostError, match="gone"):
        list(through_runner.measure(job, place(lost)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [100, 7]}, r"outputs of shape \(100, 7\), not \(100, 10\) as the manifest says"),
        ({"shape": [10**9, 10]}, "gave int8 outputs of shape"),
        ({"dtype": "object"}, "gave object outputs of shape"),
        ({"base64": "AAAA"}, "the runner's reply is damaged"),
        ({"base64": "%%%"}, "the runner's reply is damaged"),
        ({"shape": None}, "the runner's reply is damaged"),
    ],
)
def test_a_reply_from_afar_is_not_trusted(job, change, message):
    outputs = [{**zeros()[0], **change}]
    results = list(through_runner.measure(job, place(FakeRunner(outputs))))
    assert [result.values for result, _ in results] == [None, None]
    assert re.search(message, results[1][0].error)


def test_a_file_that_never_ends_is_stopped_after_the_limit():
    path = HOSTILE / "loop.tflite"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    file = {"path": str(path), "sha256": sha256(path)}
    values = {"threads": 1, "cores": [], "library": None, "samples": None, "inputs": []}
    with pytest.raises(UserError, match="stopped after 3 seconds without progress"):
        through_runner.call_here({"task": "single", "files": [file], **values}, 3.0)


def test_noise_replaces_missing_samples(job, tmp_path):
    folder = shutil.copytree(job.artifact.folder, tmp_path / "artifact")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["samples"] = None
    (folder / "manifest.json").write_text(json.dumps(manifest))
    without = dataclasses.replace(job, artifact=Artifact.open(folder))
    with through_runner.samples_file(without) as path, np.load(path) as arrays:
        assert arrays["images"].shape == (8, *job.artifact.input_shape[1:])
        assert arrays["images"].std() > 50
    assert not path.exists()
    with through_runner.samples_file(job) as path:
        assert path == (job.artifact.folder / "samples.npz").resolve()


def test_options_that_no_device_knows_are_refused(job):
    assert (job.options["cores"], job.options["board_python"]) == ((1, 0), "python3")
    with pytest.raises(ValueError, match=r"options must be of .*, received: \['core'\]"):
        dataclasses.replace(job, options={"core": (0,)})
