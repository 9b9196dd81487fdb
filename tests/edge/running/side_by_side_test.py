import numpy as np
import pytest

from common.cli import UserError
from edge.running import worker
from edge.running.side_by_side import Turns, interleave, measure

TURNS = Turns(rounds=3, processes=2, invokes=2, core=0)


def test_tasks_run_in_interleaved_rounds():
    order = []

    def task(name):
        return lambda: order.append(name) or len(order)

    assert interleave({"a": task("a"), "b": task("b")}, 2) == {"a": [1, 3], "b": [2, 4]}
    assert order == ["a", "b", "a", "b"]


def test_processes_of_all_networks_alternate(monkeypatch):
    requests = []

    def call(module, request):
        requests.append(request)
        return {"milliseconds": [[len(requests)] * request["rounds"]]}

    monkeypatch.setattr(worker, "call", call)
    times = measure("module", {"v1": {"files": ["a"]}, "v2": {"files": ["b"]}}, TURNS)
    assert times["v1"].tolist() == [[1, 1, 1, 3, 3, 3]]
    assert times["v2"].tolist() == [[2, 2, 2, 4, 4, 4]]
    assert requests[0] == {"files": ["a"], "rounds": 3, "invokes": 2, "core": 0}


def test_a_failure_names_the_network(monkeypatch):
    def call(module, request):
        raise UserError("its process died")

    monkeypatch.setattr(worker, "call", call)
    with pytest.raises(UserError, match=r"^v1 cannot be measured: its process died$"):
        measure("module", {"v1": {}}, TURNS)


def test_every_file_is_timed_every_round(artifact_dir):
    path = str(next(iter(sorted(artifact_dir.glob("*int8*.tflite")))))
    requests = {"network": {"files": [path, path]}}
    times = measure("edge.running.timing", requests, TURNS)["network"]
    assert times.shape == (2, 2 * 3) and np.min(times) > 0
