import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from common.cli import UserError
from edge.devices.device import DeviceLostError
from edge.devices.remote_folder import NAME, RemoteFolder
from edge.devices.shell import CommandError


class FakeMachine:
    """Another machine, which is really this one."""

    name = "board"

    def __init__(self):
        self.lost = False

    def execute(self, *arguments, text=""):
        if self.lost:
            raise DeviceLostError("board does not answer")
        return subprocess.run(arguments, input=text, capture_output=True, text=True, check=False)

    def push(self, source, target):
        shutil.copyfile(source, target)


@pytest.fixture
def folder(tmp_path):
    return RemoteFolder(FakeMachine(), str(tmp_path))


def leave(tmp_path, **owner):
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "old").touch()
    (tmp_path / NAME / "owner.json").write_text(json.dumps(owner))


def test_files_go_in_under_our_names_and_all_is_removed(folder, tmp_path):
    source = tmp_path / "any name"
    source.write_text("content")
    folder.create()
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o700
    assert folder.put(source, "model_0.tflite") == f"{tmp_path}/{NAME}/model_0.tflite"
    assert (tmp_path / NAME / "model_0.tflite").read_text() == "content"
    folder.remove()
    folder.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["any name"]


@pytest.mark.parametrize(
    "owner",
    [
        {"machine": "elsewhere", "process": 1, "since": "noon"},
        # Always running.
        {"machine": socket.gethostname(), "process": 1, "since": "noon"},
        {},
    ],
)
def test_what_others_use_is_left_alone(folder, tmp_path, owner):
    leave(tmp_path, **owner)
    remedy = f"wait for it or, if it has ended, remove {tmp_path}/{NAME} there"
    with pytest.raises(UserError, match=f"board is busy: a benchmark of .*{remedy}"):
        folder.create()
    folder.remove()
    assert (tmp_path / NAME / "old").exists()


def test_what_a_dead_process_left_is_taken_over(folder, tmp_path):
    done = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    dead = int(done.stdout)
    leave(tmp_path, machine=socket.gethostname(), process=dead, since="noon")
    folder.create()
    assert not (tmp_path / NAME / "old").exists()
    owner = json.loads((tmp_path / NAME / "owner.json").read_text())
    assert (owner["machine"], owner["process"]) == (socket.gethostname(), os.getpid())


def test_what_a_dead_benchmark_started_is_stopped(folder, tmp_path):
    """As after a benchmark that was killed while its program computed."""
    process = subprocess.Popen(["sleep", "60"])
    start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()[19]
    dead = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    leave(tmp_path, machine=socket.gethostname(), process=int(dead.stdout), since="noon")
    (tmp_path / NAME / "process").write_text(f"{process.pid} {start}\n")
    folder.create()
    assert process.wait() == -signal.SIGKILL


def test_a_process_that_only_has_the_same_number_is_left_alone(folder, tmp_path):
    folder.create()
    process = subprocess.Popen(["sleep", "60"])
    (tmp_path / NAME / "process").write_text(f"{process.pid} 1\n")
    assert folder._stop()
    assert process.poll() is None
    process.kill()
    process.wait()


def test_a_place_where_nothing_can_be_made_is_reported(tmp_path):
    with pytest.raises(CommandError, match=r"^board: mkdir: .*"):
        RemoteFolder(FakeMachine(), str(tmp_path / "nowhere")).create()


def test_what_cannot_be_removed_is_named(tmp_path, capsys):
    machine = FakeMachine()
    folder = RemoteFolder(machine, str(tmp_path))
    folder.create()
    machine.lost = True
    folder.remove()
    told = f"{tmp_path}/{NAME} is left on board (board does not answer); the next benchmark"
    assert capsys.readouterr().err.startswith(told)
