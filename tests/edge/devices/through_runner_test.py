import base64
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from common.artifact import Artifact
from common.cli import UserError
from edge.devices import DeviceLostError, Job, through_runner
from edge.devices.through_runner import Place

FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"
CLASSES = 10


@pytest.fixture
def job(artifact_dir):
    return Job(Artifact.open(artifact_dir), (FLOAT, INT8), 1, 1, 2, 8, {"cores": (1, 0)})


def encoded(outputs):
    return {
        "base64": base64.b64encode(outputs.tobytes()).decode(),
        "dtype": str(outputs.dtype),
        "shape": list(outputs.shape),
    }


class FakeRunner:
    """Answers like the runner; the first file crashes it."""

    def __init__(self, outputs):
        self.outputs, self.requests = outputs, []

    def __call__(self, request):
        self.requests.append(request)
        if request["task"] == "single":
            if request["files"][0]["path"] == "there/0":
                raise UserError("its process died with SIGSEGV")
            found = dict.fromkeys(("initialization_ms", "first_ms"), 1.0)
            found |= dict.fromkeys(("peak_memory_bytes", "model_memory_bytes"), 2)
            return {**found, "outputs": self.outputs}
        moments = {"state_before": {}, "state_after": {}, "machine": {}}
        times = [3.0, 5.0, 4.0]
        return {"milliseconds": [times], "warmup": 30, "warmup_stable": True, **moments}


def place(call):
    files = {name: {"path": f"there/{i}", "sha256": ""} for i, name in enumerate((FLOAT, INT8))}
    return Place(call, files, "there/samples.npz", "libedgetpu")


def test_a_crash_does_not_stop_the_others(job):
    _, labels = job.artifact.samples()
    outputs = np.eye(CLASSES, dtype=np.int8)[labels]
    call = FakeRunner(encoded(outputs))
    (bad, _), (good, found) = through_runner.measure(job, place(call))
    assert (bad.file, bad.error) == (FLOAT, "its process died with SIGSEGV")
    assert (good.file, good.values["latency_ms"]["median"]) == (INT8, 4.0)
    assert (good.values["accuracy"], good.values["accuracy_images"]) == (1.0, 100)
    assert (good.values["warmup"], good.values["drift"]) == (30, None)
    np.testing.assert_array_equal(found, outputs)
    first, _, together = call.requests
    assert (first["cores"], first["library"], first["threads"]) == ([1, 0], "libedgetpu", 1)
    assert [file["path"] for file in together["files"]] == ["there/1"]
    assert (together["warmup"], together["runs"]) == (1, 2)


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
    outputs = {**encoded(np.zeros((100, CLASSES), np.int8)), **change}
    results = list(through_runner.measure(job, place(FakeRunner(outputs))))
    assert [result.values for result, _ in results] == [None, None]
    assert re.search(message, results[1][0].error)


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
