"""Tests with a real sshd on this machine, with its own keys and configuration."""

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from common.artifact import Artifact
from common.cli import UserError
from edge.devices import Coral, Job, Ssh
from edge.devices.board import Board
from edge.devices.device import DeviceLostError
from edge.devices.shell import CommandError, SshShell
from edge.running.measurement import read_measurements

FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"
HOSTILE = "a b'\"$(touch pwned)`touch pwned`;touch pwned;é.tflite"
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ROOT = Path(__file__).resolve().parents[3]
ARM_PYTHON = ROOT / "build/arm/python"
SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv TMPDIR={temporary}
"""
CLIENT = """
Host board
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  StrictHostKeyChecking accept-new
  ControlMaster auto
  ControlPath {folder}/c
  ControlPersist 60
"""
# A benchmark whose runner never ends.
KILLED = f"""import json, sys
sys.path.insert(0, {str(ROOT)!r})
from common.artifact import Artifact
from edge.devices.board import Board
from edge.devices.device import Job

values = json.loads(sys.stdin.readline())
board = Board(Job(Artifact.open(values["artifact"]), (), 1, 1, 2, 8, values["options"]))
board.prepare()
board._python = values["program"]
board.call({{"task": "describe"}})
"""


@dataclass(frozen=True)
class Server:
    """An sshd: `config` names it "board"; our files on it are in `temporary`."""

    config: Path
    temporary: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("needs sshd and ssh; on Debian: apt-get install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    temporary = folder / "temporary"
    temporary.mkdir()
    for name in ("host_key", "user_key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(make, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {**{"folder": folder, "port": port, "temporary": temporary, "user": getpass.getuser()}}
    (folder / "sshd_config").write_text(SERVER.format(**values))
    (folder / "config").write_text(CLIENT.format(**values))
    if os.getuid() == 0:
        # Starting the service would make this folder.
        Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", folder / "sshd_config"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_for(port, process)
        # An sshd not run by root may refuse this account, for example if it has no password.
        try:
            SshShell("board", str(folder / "config"), 30).execute("true")
        except DeviceLostError as error:
            pytest.skip(f"sshd lets nobody in here: {error}")
        yield Server(folder / "config", temporary)
    finally:
        close = ["ssh", "-F", folder / "config", "-O", "exit", "board"]
        subprocess.run(close, capture_output=True, check=False)
        process.terminate()
        process.wait()


def _wait_for(port, process):
    for _ in range(100):
        if process.poll() is not None:
            pytest.skip(f"sshd does not run here: {process.stderr.read()[-300:]}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("sshd did not come up")


@pytest.fixture
def job(server, artifact_dir):
    options = {
        **{"host": "board", "ssh_config": str(server.config), "board_python": sys.executable},
        "timeout": 60,
    }
    return Job(Artifact.open(artifact_dir), (INT8,), 1, 1, 2, 8, options)


def run(device, job):
    try:
        device.prepare(job)
        return list(device.run(job))
    finally:
        device.clean_up()


def is_running(process):
    """Returns whether a process computes; a zombie does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def program(tmp_path, text):
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return str(path)


def test_a_board_is_measured(server, job, tmp_path):
    artifact = Artifact.open(shutil.copytree(job.artifact.folder, tmp_path / "artifact"))
    # Damaged after the hashes were checked: it is reported, and does not stop the other file.
    (artifact.folder / FLOAT).write_bytes(b"\0" * 100)
    bad, good = run(Ssh(), replace(job, artifact=artifact, files=(FLOAT, INT8)))
    assert (bad.file, good.file) == (FLOAT, INT8)
    assert re.fullmatch("board: .* is not the artifact's file; copy it again", bad.error)
    values = good.values
    assert (values["place"], values["accuracy_images"]) == ("board", 100)
    assert values["accuracy"] == job.artifact.files[INT8]["accuracy"]
    # The same kernels on the same images: a loopback cannot show more.
    assert values["agreement"] == {
        **{"max_lsb": 0, "exact": 1.0, "within_1_lsb": 1.0, "images": 100}
    }
    assert values["latency_ms"]["runs"] == 2 and values["latency_ms"]["min"] > 0
    assert values["machine"]["cores"] == os.cpu_count()
    assert list(server.temporary.iterdir()) == []


def test_the_command_measures_a_board_and_names_are_no_commands(server, job, run_cli, tmp_path):
    folder = shutil.copytree(job.artifact.folder, tmp_path / "$(touch pwned) 'x")
    (folder / INT8).rename(folder / HOSTILE)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {HOSTILE: manifest["files"][INT8]}
    manifest["samples"] = None
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = run_cli(
        "edge.benchmark",
        f"--artifact={folder}",
        *("--device=ssh", "--host=board", "--runs=2", "--warmup=1", "--agreement_images=8"),
        *(f"--ssh_config={server.config}", f"--board_python={sys.executable}", "--cores=0"),
    )
    (record,) = read_measurements(tmp_path / "measurements.jsonl")
    assert (record["device"], record["place"], record["file"]) == ("ssh", "board", HOSTILE)
    assert (record["cores"], record["accuracy"]) == ([0], None)
    assert (record["agreement"]["exact"], record["agreement"]["images"]) == (1.0, 8)
    assert "ssh board" in done.stdout and done.stderr == ""
    places = (Path.home(), Path.cwd(), tmp_path, folder, server.temporary)
    assert not [place for place in places if (place / "pwned").exists()]


def test_a_board_that_vanishes_is_reported_and_left_clean(server, job, tmp_path):
    # It lets the runner describe the machine, then ends the connection like a pulled plug.
    dying = program(
        tmp_path,
        'read -r request\ncase "$request" in *describe*) echo "{}";; *) kill -9 $PPID;; esac\n',
    )
    device = Ssh()
    options = {**job.options, "board_python": dying}
    with pytest.raises(DeviceLostError, match="board does not answer by ssh"):
        run(device, replace(job, options=options))
    assert list(server.temporary.iterdir()) == []


def test_a_board_that_hangs_is_given_up_and_its_program_stopped(server, job, tmp_path):
    hangs = program(tmp_path, f"echo $$ >{tmp_path}/pid\nexec sleep 30\n")
    options = {**job.options, "board_python": hangs, "timeout": 1.5}
    message = r"board did not answer within 1.5 seconds; check .*; what ran there was stopped"
    with pytest.raises(DeviceLostError, match=message):
        run(Ssh(), replace(job, options=options))
    assert not is_running(int((tmp_path / "pid").read_text()))
    assert list(server.temporary.iterdir()) == []


def test_a_board_that_makes_progress_may_take_longer_than_the_limit(server, job, tmp_path):
    slow = "for i in 1 2 3 4 5 6; do sleep 0.5; echo ... >&2; done; echo '{\"done\": 1}'"
    board = Board(replace(job, options={**job.options, "timeout": 1.5}))
    board.prepare()
    board._python = program(tmp_path, slow)
    assert board.call({"task": "describe"}) == {"done": 1}
    board.clean_up()


def test_a_runner_ends_with_a_benchmark_that_is_killed(server, job, tmp_path):
    endless = """import os, pathlib, sys, time
sys.path.insert(0, os.path.dirname(sys.argv[1]))
import runner
pathlib.Path(__file__).with_name("pid").write_text(str(os.getpid()))
runner.serve(lambda request: time.sleep(60))
"""
    (tmp_path / "endless.py").write_text(endless)
    program(tmp_path, f'exec {sys.executable} {tmp_path}/endless.py "$@"\n')
    benchmark = subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, text=True)
    values = {"artifact": str(job.artifact.folder), "options": dict(job.options)}
    benchmark.stdin.write(json.dumps({**values, "program": str(tmp_path / "program")}) + "\n")
    benchmark.stdin.flush()
    wait_until((tmp_path / "pid").exists)
    runner = int((tmp_path / "pid").read_text())
    assert is_running(runner)
    benchmark.kill()
    benchmark.communicate()
    wait_until(lambda: not is_running(runner))
    # What it left is taken over by the next one.
    board = Board(job)
    board.prepare()
    board.clean_up()
    assert list(server.temporary.iterdir()) == []


def test_a_busy_board_is_left_alone(server, job):
    first, second = Ssh(), Ssh()
    first.prepare(job)
    (folder,) = server.temporary.iterdir()
    owner = json.loads((folder / "owner.json").read_text())
    (folder / "owner.json").write_text(json.dumps({**owner, "machine": "elsewhere"}))
    busy = "board is busy: a benchmark of elsewhere has used it since"
    with pytest.raises(UserError, match=busy):
        run(second, job)
    assert folder.is_dir()
    first.clean_up()
    assert list(server.temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("no_such_python", r"no_such_python.*it needs Python 3.7 or newer \(--board_python=no_su"),
        ("echo", "board sent more than the runner's reply"),
        ("bare", r"board: no LiteRT is installed; .* -m pip install ai-edge-litert"),
    ],
)
def test_a_board_without_what_it_takes_is_reported(server, job, tmp_path, python, message):
    if python == "bare":
        hide = "import sys; sys.modules.update({n: None for n in ('ai_edge_litert', "
        hide += "'ai_edge_litert.interpreter', 'tflite_runtime', 'tflite_runtime.interpreter')})"
        (tmp_path / "sitecustomize.py").write_text(hide)
        python = program(tmp_path, f'PYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    with pytest.raises(UserError, match=message):
        run(Ssh(), replace(job, options={**job.options, "board_python": python}))
    assert list(server.temporary.iterdir()) == []


def test_a_full_board_is_reported(server, tmp_path):
    source = tmp_path / "model"
    source.write_bytes(b"x")
    shell = SshShell("board", str(server.config), 30)
    with pytest.raises(CommandError, match=r"board: .*No space left on device; free some space on"):
        shell.push(source, "/dev/full")


def test_an_unreachable_board_is_reported(job):
    with pytest.raises(DeviceLostError, match=r"127.0.0.1 does not answer by ssh .*refused"):
        # Port 1: nothing listens there.
        config = Path(job.options["ssh_config"]).with_name("closed")
        config.write_text("Host *\n  Port 1\n")
        options = {**job.options, "host": "127.0.0.1", "ssh_config": str(config)}
        run(Ssh(), replace(job, options=options))


def test_an_edge_tpu_of_a_board_needs_its_library(server, job, compiled_artifact):
    options = {**job.options, "edgetpu_library": "libnone.so.1"}
    job = replace(job, artifact=Artifact.open(compiled_artifact), options=options)
    (result,) = run(Coral(), job)
    assert result.error.startswith("board: libnone.so.1 cannot be loaded")
    assert list(server.temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["cortex-a53", "cortex-a72", "max"])
def test_arm_kernels_agree_with_x86(server, job, tmp_path, processor):
    if not ARM_PYTHON.exists():
        pytest.skip(f"{ARM_PYTHON} is not there; make test-arm makes it, on Debian")
    python = program(tmp_path, f'ARM_CPU={processor} exec {ARM_PYTHON} "$@"\n')
    options = {**job.options, "board_python": python, "timeout": 600}
    int8, floats = run(Ssh(), replace(job, files=(INT8, FLOAT), options=options))
    assert "aarch64" in int8.values["machine"]["platform"]
    assert int8.values["agreement"]["max_lsb"] <= 1
    assert floats.values["agreement"]["max_abs"] <= 1e-4
    assert int8.values["accuracy"] == job.artifact.files[INT8]["accuracy"]
    print(processor, int8.values["agreement"], floats.values["agreement"])
