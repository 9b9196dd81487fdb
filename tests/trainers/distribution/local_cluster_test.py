import json
import os
import signal
import sys
import time

import pytest

from trainers.distribution import local_cluster
from trainers.distribution.local_cluster import LocalCluster

pytestmark = pytest.mark.medium

# A worker without TensorFlow that runs a test's code.
WORKER = """
import json, os, signal, sys, time
task = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
{}
"""


def start(code, workers=2):
    return LocalCluster([sys.executable, "-c", WORKER.format(code)], workers)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(local_cluster, "_SECONDS_TO_SAVE", 30)
    monkeypatch.setattr(local_cluster, "_SECONDS_TO_NOTICE", 0.5)
    monkeypatch.setattr(local_cluster, "_SECONDS_TO_TERMINATE", 0.5)


def test_workers_know_each_other(capfd):
    code = "print(os.environ['TF_CONFIG']); print('careful', file=sys.stderr); sys.exit(0)"
    with start(code, workers=3) as cluster:
        assert cluster.wait() == 0
    output = capfd.readouterr()
    said = sorted(output.out.splitlines())
    assert [line[:11] for line in said] == [f"[worker {index}] " for index in range(3)]
    configs = [json.loads(line[11:]) for line in said]
    assert [config["task"] for config in configs] == [
        {"type": "worker", "index": index} for index in range(3)
    ]
    addresses = configs[0]["cluster"]["worker"]
    assert len(set(addresses)) == 3 and all(a.startswith("127.0.0.1:") for a in addresses)
    assert all(config["cluster"] == configs[0]["cluster"] for config in configs)
    assert sorted(output.err.splitlines()) == [f"[worker {i}] careful" for i in range(3)]


@pytest.mark.parametrize(
    ("end", "expected"),
    [("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)],
)
def test_one_that_fails_ends_all(end, expected):
    code = f"if task == 1: {end}\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
    with start(code) as cluster:
        assert cluster.wait() == expected
        assert cluster.processes[0].returncode == -signal.SIGKILL
    assert not cluster.stopped


def test_the_first_failure_counts_and_the_others_may_end_by_themselves(tmp_path):
    code = (
        f"stopped = {str(tmp_path / 'stopped')!r}\n"
        "if task == 1:\n    open(stopped, 'w').close()\n    sys.exit(130)\n"
        "while not os.path.exists(stopped): time.sleep(0.05)\n"
        # Longer than workers may take that only have to notice.
        "time.sleep(2); sys.exit(75)"
    )
    with start(code) as cluster:
        assert cluster.wait() == 130
        assert [process.returncode for process in cluster.processes] == [75, 130]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_all(number, tmp_path):
    code = (
        "signal.signal(signal.SIGTERM, lambda *unused: sys.exit(75))\n"
        "signal.signal(signal.SIGINT, lambda *unused: sys.exit(130))\n"
        f"open({str(tmp_path)!r} + f'/{{task}}', 'w').close()\ntime.sleep(600)"
    )
    before = signal.getsignal(number)
    with start(code) as cluster:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
            assert time.monotonic() < deadline
        os.kill(os.getpid(), number)
        assert cluster.wait() == {signal.SIGTERM: 75, signal.SIGINT: 130}[number]
    assert cluster.stopped
    assert [process.returncode for process in cluster.processes] == [cluster.wait()] * 2
    assert signal.getsignal(number) is before


def test_no_worker_is_left_running_after_an_error():
    with pytest.raises(ZeroDivisionError), start("time.sleep(600)") as cluster:
        _ = 1 / 0
    assert [process.returncode for process in cluster.processes] == [-signal.SIGKILL] * 2
