import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.cli import UserError
from trainers.distribution import lock

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys, time
from trainers.distribution.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has locked the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_refused_and_sees_who_holds_the_lock(tmp_path, holder):
    words = rf"in use by another training \(process {holder.pid} on"
    with pytest.raises(UserError, match=words), lock.locked(tmp_path):
        pass


def test_the_lock_ends_with_its_process(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock.locked(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / ".lock").read_text()


def test_the_lock_ends_with_its_block(tmp_path):
    for _ in range(2):
        with lock.locked(tmp_path):
            pass
    with pytest.raises(ZeroDivisionError), lock.locked(tmp_path):
        _ = 1 / 0
    with lock.locked(tmp_path):
        pass


def test_another_folder_is_free(tmp_path, holder):
    (tmp_path / "other").mkdir()
    with lock.locked(tmp_path / "other"):
        pass


def test_a_file_system_without_locks_is_only_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(handle, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock.locked(tmp_path):
        pass
    assert "cannot be locked (Operation not supported)" in caplog.text


def test_the_lock_does_not_follow_a_link(tmp_path):
    target = tmp_path / "diary"
    target.write_text("dear diary")
    workdir = tmp_path / "work"
    workdir.mkdir()
    (workdir / ".lock").symlink_to(target)
    with pytest.raises(UserError, match=r"\.lock is not a plain file"), lock.locked(workdir):
        pass
    assert target.read_text() == "dear diary"


@pytest.mark.timeout(20)
def test_the_lock_does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(UserError, match=r"\.lock is not a plain file"), lock.locked(tmp_path):
        pass
