import subprocess
from pathlib import Path

import pytest

from common.cli import UserError
from edge.devices import shell as shells
from edge.devices.device import DeviceLostError
from edge.devices.shell import AdbShell, CommandError, SshShell
from edge.running import attended

HOSTILE = "a b'$(touch pwned)"


@pytest.fixture
def calls(monkeypatch):
    """The commands that would have run; the answers come from the list `answers`."""
    made = []

    def answer(command, input, **options):
        made.append((command, input))
        found = made_up.answers.pop(0) if made_up.answers else (0, b"", b"")
        if isinstance(found, Exception):
            raise found
        return subprocess.CompletedProcess(command, *found)

    def attend(command, text, silence):
        done = answer(command, text.encode())
        return subprocess.CompletedProcess(
            command, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def made_up():
        return made

    made_up.answers = []
    monkeypatch.setattr(subprocess, "run", answer)
    monkeypatch.setattr(attended, "run", attend)
    return made_up


def test_ssh_quotes_arguments_and_asks_nothing(calls, tmp_path):
    source = tmp_path / HOSTILE
    source.write_bytes(b"content")
    shell = SshShell("pi@board", "my config", 30)
    shell.execute("cat", HOSTILE, text="input")
    shell.push(source, "/tmp/x y")
    options = [
        *("ssh", "-T", "-a", "-x", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
        *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-F", "my config", "--"),
    ]
    assert calls() == [
        ([*options, "pi@board", "cat 'a b'\"'\"'$(touch pwned)'"], b"input"),
        ([*options, "pi@board", "cat > '/tmp/x y'"], b"content"),
    ]


def test_adb_quotes_arguments_and_names_the_device(calls, tmp_path):
    shell = AdbShell("/opt/my adb", "A1", 30)
    shell.execute("cat", HOSTILE)
    shell.push(tmp_path / HOSTILE, "/data/x")
    assert calls() == [
        (["/opt/my adb", "-s", "A1", "shell", "cat 'a b'\"'\"'$(touch pwned)'"], b""),
        (["/opt/my adb", "-s", "A1", "push", str(tmp_path / HOSTILE), "/data/x"], b""),
    ]


@pytest.mark.parametrize("host", ["-oProxyCommand=touch pwned", "a b", "a\nb"])
def test_a_host_is_no_option(host):
    with pytest.raises(UserError, match="is not a host; a host looks like user@board"):
        SshShell(host, None, 30)


def test_a_failed_command_is_reported_by_its_last_line(calls):
    shell = SshShell("board", None, 30)
    calls.answers = [(1, b"", b"first\nlast\n\n"), (2, b"", b""), (0, b" text \n", b"warning")]
    with pytest.raises(CommandError, match=r"^board: last$"):
        shells.run(shell, "false")
    with pytest.raises(CommandError, match=r"^board: exit code 2$"):
        shells.run(shell, "false")
    assert shells.run(shell, "echo", "text") == "text"


def test_ssh_s_own_failure_is_a_lost_device(calls):
    calls.answers = [(255, b"", b"Connection closed by remote host\n")]
    with pytest.raises(DeviceLostError, match=r"board does not answer by ssh \(Connection closed"):
        SshShell("board", None, 30).execute("true")


def test_adb_s_own_failure_is_told_from_the_command_s(calls):
    shell = AdbShell("adb", "A1", 30)
    calls.answers = [(1, b"", b"failed"), (0, b"device\n", b"")]
    assert shell.execute("false").returncode == 1
    calls.answers = [(1, b"", b"error: closed"), (1, b"", b"error: device offline\n")]
    with pytest.raises(DeviceLostError, match=r"A1 does not answer by adb \(error: device offline"):
        shell.execute("false")


@pytest.mark.parametrize(
    ("shell", "remedy"),
    [
        (SshShell("board", None, 30), "'ssh' cannot be run; apt-get install openssh-client"),
        (AdbShell("adb", "A1", 30), "'adb' cannot be run; install Android's platform-tools, o"),
    ],
)
def test_a_missing_program_is_reported(calls, shell, remedy):
    calls.answers = [FileNotFoundError()]
    with pytest.raises(UserError, match=remedy):
        shell.push(Path(__file__), "/tmp/x")


def test_a_hanging_command_is_given_up(calls):
    calls.answers = [subprocess.TimeoutExpired("ssh", 30)]
    with pytest.raises(DeviceLostError, match="board did not answer within 30 seconds"):
        SshShell("board", None, 30).execute("true")
