import pytest

from common.cli import UserError
from edge.running import worker

TASKS = """
import os, signal, sys
from edge.running import worker
from common.cli import UserError

def task(request):
    what = request["what"]
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "mistake":
        raise UserError("no such thing")
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
    return lambda what: worker.call("worker_of_test", {"what": what})


def test_reply_is_apart_from_the_chatter(call):
    assert call("ä") == {"echo": "ä"}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("crash", "its process died with SIGSEGV"),
        ("mistake", "^no such thing$"),
        ("bug", "its process died with exit code 1: ZeroDivisionError: a bug"),
    ],
)
def test_failures_are_told_in_one_line(call, what, message):
    with pytest.raises(UserError, match=message):
        call(what)
