import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.cli import UserError
from edge.running import worker
from edge.running.worker import PersistentWorker

TASKS = """
import os, signal, sys, time
from common.cli import UserError
from edge.running import runner, worker

def task(request):
    what = request["what"]
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "mistake":
        raise UserError("no such thing")
    if what == "slow":
        for _ in range(6):
            time.sleep(0.5)
            runner.report_progress()
    if what == "hang":
        time.sleep(60)
    if what == "bug":
        raise ZeroDivisionError("a bug")
    print("chatter")
    os.write(1, b"chatter of C++\\n")
    return {"echo": what}

worker.serve(task)
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    (tmp_path / "worker_of_test.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda what, *limit: worker.call("worker_of_test", {"what": what}, *limit)


def test_reply_is_separate_from_other_output(call):
    assert call("ä") == {"echo": "ä"}


def test_the_limit_is_for_silence_not_for_the_task(call):
    assert call("slow", 2.0) == {"echo": "slow"}
    with pytest.raises(UserError, match="its process was stopped after 2 seconds without progress"):
        call("hang", 2.0)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("crash", "its process died with SIGSEGV"),
        ("mistake", "^no such thing$"),
        ("bug", "its process died with exit code 1: ZeroDivisionError: a bug"),
    ],
)
def test_failures_are_reported_in_one_line(call, what, message):
    with pytest.raises(UserError, match=message):
        call(what)


ENDLESS = """
import os, pathlib, sys, time
from edge.running import worker

def work(*unused):
    pathlib.Path(__file__).with_name("pid").write_text(str(os.getpid()))
    time.sleep(60)
"""
SERVED = {
    "worker.call('endless', {})": "worker.serve(work)",
    "worker.PersistentWorker('endless', {})": "worker.serve_turns(lambda request: work)",
}


@pytest.mark.parametrize(("starts", "serves"), SERVED.items())
def test_a_worker_ends_when_its_benchmark_is_killed(tmp_path, starts, serves):
    (tmp_path / "endless.py").write_text(f"{ENDLESS}\n{serves}\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    code = f"from edge.running import worker; {starts}"
    benchmark = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}
    )
    process = tmp_path / "pid"
    _wait_until(lambda: process.exists() and process.read_text())
    stat = Path(f"/proc/{process.read_text()}/stat")
    benchmark.kill()
    benchmark.wait()
    _wait_until(lambda: not stat.exists() or ") Z " in stat.read_text())


def _wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


STEPS = """
import sys

from edge.running import worker


def make(request):
    def step():
        sys.stderr.write("." * request["chatter"] + "\\n")
        if request["dies"]:
            raise RuntimeError("no memory left")
        return sum(range(200_000))

    return step


if __name__ == "__main__":
    worker.serve_turns(make)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A worker that adds up numbers, or dies."""
    (tmp_path / "adding_worker.py").write_text(STEPS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return "adding_worker"


def test_a_persistent_worker_measures_repeatedly(module):
    with PersistentWorker(module, {"dies": False, "chatter": 0}) as process:
        for clock in ("wall", "process"):
            times = process.turn(3, clock)
            assert len(times) == 3 and all(0 < time < 1000 for time in times)


def test_a_persistent_worker_that_prints_a_lot_continues(module):
    # A pipe would be full after a tenth of it.
    with PersistentWorker(module, {"dies": False, "chatter": 200_000}) as process:
        assert len(process.turn(3, "wall")) == 3


@pytest.mark.parametrize("chatter", [0, 200_000])
def test_a_persistent_worker_that_dies_is_quoted(module, chatter):
    with pytest.raises(UserError, match=r"adding_worker ended: RuntimeError: no memory left"):
        PersistentWorker(module, {"dies": True, "chatter": chatter})
