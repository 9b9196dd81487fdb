import sys

import pytest

from benchmarks.measuring.persistent_worker import LiveWorker
from common.cli import UserError

# The command's own functions are not imported: a module with flags defines them once.
WORKER = """
import sys

from benchmarks.measuring import persistent_worker


def make(request):
    def step():
        sys.stderr.write("." * request["chatter"] + "\\n")
        if request["dies"]:
            raise RuntimeError("no memory left")
        return sum(range(200_000))

    return step


if __name__ == "__main__":
    persistent_worker.serve(make)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A worker that adds numbers up, or dies."""
    (tmp_path / "adding_worker.py").write_text(WORKER)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return "adding_worker"


def test_a_worker_takes_turns(module):
    with LiveWorker(module, {"dies": False, "chatter": 0}) as worker:
        for clock in ("wall", "process"):
            times = worker.turn(3, clock)
            assert len(times) == 3 and all(0 < time < 1000 for time in times)


def test_a_worker_that_chatters_goes_on(module):
    # A pipe would be full after a tenth of it.
    with LiveWorker(module, {"dies": False, "chatter": 200_000}) as worker:
        assert len(worker.turn(3, "wall")) == 3


@pytest.mark.parametrize("chatter", [0, 200_000])
def test_a_worker_that_dies_is_quoted(module, chatter):
    with pytest.raises(UserError, match=r"adding_worker ended: RuntimeError: no memory left"):
        LiveWorker(module, {"dies": True, "chatter": chatter})
