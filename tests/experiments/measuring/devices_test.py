import math
from typing import ClassVar

import numpy as np
import pytest

from common.cli import UserError
from edge.devices import Result
from experiments.harness.experiment import Settings
from experiments.measuring import devices
from experiments.measuring.devices import File, describe_device, measure, unfinished_path


@pytest.fixture
def groups(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode())
    return {
        "first": {"a": File(tmp_path, "a"), "b": File(tmp_path, "b")},
        "second": {"c": File(tmp_path, "c")},
    }


def settings(tmp_path, **changes):
    return Settings(output=tmp_path / "results", passes=2, runs=3, **changes)


class FakeWorker:
    """The process that measures times: each run takes one millisecond more."""

    def __init__(self, fails_at=None):
        self.requests, self.fails_at = [], fails_at

    def __call__(self, module, request):
        if len(self.requests) == self.fails_at:
            raise UserError("its process died")
        self.requests.append(request)
        count = len(self.requests)
        times = [[count + place] * 3 for place, _ in enumerate(request["files"])]
        return {"milliseconds": times}


def test_every_pass_measures_every_group(monkeypatch, tmp_path, groups):
    worker = FakeWorker()
    monkeypatch.setattr("edge.running.worker.call", worker)
    times = measure(
        "toy", groups, settings(tmp_path, options={**Settings().options, "cores": (1,)})
    )
    assert {label: list(row) for label, row in times["first"].items()} == {"a": [1, 3], "b": [2, 4]}
    assert list(times["second"]["c"]) == [2, 4]
    assert {request["core"] for request in worker.requests} == {1}
    assert worker.requests[0]["files"] == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_measuring_resumes_after_a_stop(monkeypatch, tmp_path, groups, capsys):
    monkeypatch.setattr("edge.running.worker.call", FakeWorker(fails_at=2))
    with pytest.raises(UserError, match="first cannot be measured: its process died"):
        measure("toy", groups, settings(tmp_path))
    second = FakeWorker()
    monkeypatch.setattr("edge.running.worker.call", second)
    # A run that was killed while it wrote.
    with unfinished_path(tmp_path / "results", "toy").open("a") as file:
        file.write('{"key": "')
    times = measure("toy", groups, settings(tmp_path))
    assert len(second.requests) == 2 and list(times["first"]["a"]) == [1, 1]
    assert "2 of 2 runs have the same files and settings" in capsys.readouterr().err


def test_other_files_or_settings_are_measured_again(monkeypatch, tmp_path, groups):
    monkeypatch.setattr("edge.running.worker.call", FakeWorker())
    measure("toy", groups, settings(tmp_path))
    again = FakeWorker()
    monkeypatch.setattr("edge.running.worker.call", again)
    (tmp_path / "c").write_bytes(b"changed")
    measure("toy", groups, settings(tmp_path))
    assert [len(request["files"]) for request in again.requests] == [1, 1]
    measure("toy", groups, settings(tmp_path, seconds=0.1))
    assert len(again.requests) == 6


class FakeDevice:
    """A phone that fails to run the file "b" and does not accept "c"."""

    used: ClassVar[list] = []

    def takes(self, entry):
        return entry != "c"

    def prepare(self, job):
        self.used.append("prepare")

    def run(self, job):
        (name,) = job.files
        if name == "b":
            yield Result(name, error="no memory")
        else:
            latency = {"median": None, "mean": 7.0}
            yield Result(name, {"latency_ms": latency, "place": "X1", "machine": {"cpu": "M3"}})

    def clean_up(self):
        self.used.append("clean up")


class FakeArtifact:
    """An artifact whose entries are the files' names."""

    files: ClassVar[dict] = {name: name for name in "abc"}


@pytest.fixture
def phone(monkeypatch):
    monkeypatch.setitem(devices.DEVICES, "phone", FakeDevice)
    monkeypatch.setattr(devices.Artifact, "open", lambda folder: FakeArtifact())
    FakeDevice.used = []


def test_another_device(phone, tmp_path, groups, capsys):
    times = measure("toy", groups, settings(tmp_path, device="phone"))
    assert list(times["first"]["a"]) == [7.0, 7.0]
    assert np.isnan(times["first"]["b"]).all() and np.isnan(times["second"]["c"]).all()
    assert FakeDevice.used == ["prepare", "clean up"] * 4
    assert "first, b on phone: no memory" in capsys.readouterr().err
    described = describe_device(tmp_path / "results", "toy")
    assert described == {"place": "X1", "machine": {"cpu": "M3"}}


def test_nothing_measured_is_an_error(phone, tmp_path, groups):
    with pytest.raises(UserError, match="no file could be measured on phone"):
        measure("toy", {"second": groups["second"]}, settings(tmp_path, device="phone"))


def test_an_unknown_device():
    with pytest.raises(UserError, match=r"--device must be one of host, .*; got 'phone'"):
        Settings(device="phone")


@pytest.mark.parametrize("name", ["passes", "runs", "seconds"])
def test_numbers_below_their_minimum(name):
    with pytest.raises(UserError, match=f"--{name} must be at least"):
        Settings(**{name: -1})


def test_several_phones_at_once():
    with pytest.raises(UserError, match="--serial must be one value in an experiment; got A,B"):
        Settings(device="android", options={**Settings().options, "serial": ("A", "B")})


def test_the_host_s_time_is_that_of_its_thread(monkeypatch, tmp_path, artifact_dir):
    name = next(iter(sorted(artifact_dir.glob("*int8*.tflite")))).name
    times = measure("toy", {"g": {"x": File(artifact_dir, name)}}, settings(tmp_path))
    assert times["g"]["x"].shape == (2,) and times["g"]["x"].min() > 0
    assert not math.isnan(times["g"]["x"].sum())
