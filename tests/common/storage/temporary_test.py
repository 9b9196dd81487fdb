"""What a killed run leaves is removed by the next one; what a live run uses is not."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.artifact_writer import staged_folder
from common.files import atomic_write
from common.storage.temporary import temporary_folder

ROOT = Path(__file__).resolve().parents[3]
_WAITS = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from common.artifact_writer import staged_folder
from common.files import atomic_write
with atomic_write(Path("model.keras")) as file, staged_folder(Path("artifact")) as folder:
    (folder / "half").write_text("x")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_run(tmp_path):
    """Another process that is writing `model.keras` and `artifact` in `tmp_path`."""
    command = [sys.executable, "-c", _WAITS.format(root=str(ROOT))]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def _next_run(folder):
    with atomic_write(folder / "model.keras") as file, staged_folder(folder / "artifact") as made:
        file.write_text("whole")
        (made / "manifest.json").write_text("whole")


def test_the_next_run_removes_what_a_killed_run_left(tmp_path, other_run):
    assert len(list(tmp_path.iterdir())) == 2
    other_run.send_signal(signal.SIGKILL)
    other_run.wait()
    _next_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact", "model.keras"]


def test_what_another_run_is_writing_stays(tmp_path, other_run):
    _next_run(tmp_path)
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".part-")]
    assert sorted(path.name[15:] for path in left) == ["artifact", "model.keras"]


def test_only_its_own_names_are_removed(tmp_path):
    for name in (".part-abc.artifact", ".part-abcdefgh.other", "part-abcdefgh.artifact"):
        (tmp_path / name).mkdir()
    with temporary_folder(tmp_path / "artifact"):
        pass
    assert len(list(tmp_path.iterdir())) == 3
