import pytest

from common.artifact import Artifact
from edge.devices import Coral, Job, through_runner

FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"


@pytest.fixture
def job(compiled_artifact):
    options = {"edgetpu_library": "libnone.so"}
    return Job(Artifact.open(compiled_artifact), (FLOAT, INT8), 1, 1, 2, 8, options)


def test_compiled_files_are_for_it(job):
    assert not Coral().takes(job.artifact.files[FLOAT])
    assert Coral().takes(job.artifact.files[INT8])


def test_without_the_library_the_remedy_is_reported(job):
    uncompiled, compiled = Coral().run(job)
    assert uncompiled.error == "it is not compiled; compile it with converters.edgetpu"
    assert compiled.error.startswith("libnone.so cannot be loaded")
    assert compiled.error.endswith("plug in the accelerator, or name another library")


def test_the_compiled_file_is_compared_with_the_file_it_was_made_of(job, monkeypatch):
    requests, real = [], through_runner.call_here

    def call(request, silence):
        """The runner, with the CPU instead of an Edge TPU."""
        requests.append(request)
        return real({**request, "library": None}, silence)

    monkeypatch.setattr(through_runner, "call_here", call)
    _, result = Coral().run(job)
    assert [request["library"] for request in requests] == ["libnone.so", "libnone.so", None]
    names = [request["files"][0]["path"].rsplit("/", 1)[1] for request in requests]
    assert names == ["compiled_edgetpu.tflite"] * 2 + [INT8]
    assert (result.file, result.values["compiled"]["name"]) == (INT8, "compiled_edgetpu.tflite")
    assert result.values["agreement"]["max_lsb"] == 0
    assert result.values["first_ms"] > 0
