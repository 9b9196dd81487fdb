"""What a killed process leaves is removed by the next write; what a live one writes is not."""

import signal
import subprocess
import sys

import pytest

from keras_shufflenet.checkpoints import temporary
from keras_shufflenet.checkpoints.temporary import temporary_beside

# By its path: importing the package would take seconds.
_WAITS = """
import runpy, sys
temporary_beside = runpy.run_path({path!r})["temporary_beside"]
with temporary_beside("model.keras") as file:
    file.write_text("half")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """Another process that is writing `model.keras` in `tmp_path`."""
    command = [sys.executable, "-c", _WAITS.format(path=temporary.__file__)]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def write(path):
    with temporary_beside(path) as file:
        file.write_text("whole")


def test_the_next_write_removes_what_a_killed_one_left(tmp_path, writer):
    (tmp_path / ".part-abcdefgh.other.keras").mkdir()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(list(tmp_path.iterdir())) == 2
    write(tmp_path / "model.keras")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".part-abcdefgh.other.keras", "model.keras"]


def test_what_another_process_is_writing_stays(tmp_path, writer):
    write(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").read_text() == "whole"
    (left,) = tmp_path.glob(".part-*")
    assert (left / "model.keras").read_text() == "half"
    writer.communicate("")
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
    assert (tmp_path / "model.keras").read_text() == "half"


def test_an_error_leaves_the_file_as_it_was(tmp_path):
    write(tmp_path / "a.npz")
    with pytest.raises(KeyError), temporary_beside(tmp_path / "a.npz") as file:
        file.write_text("half")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert (tmp_path / "a.npz").read_text() == "whole"
