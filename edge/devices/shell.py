"""Runs commands on another machine, by ssh or adb.

Both pass one string to a shell there: arguments are quoted, and we choose the paths there.
"""

import contextlib
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Protocol

from common.cli import UserError
from edge.devices.device import DeviceLostError
from edge.running import attended
from edge.running.worker import last_line

# A board must answer within this time; it is lost after this many silent intervals.
_CONNECT_SECONDS = 10
_ALIVE_SECONDS = 5
_ALIVE_COUNT = 3
# Exit code of ssh's own failures; those of commands are lower.
_SSH_FAILED = 255
_FULL = "No space left"
_REMEDIES = {"ssh": "apt-get install openssh-client"}


class CommandError(UserError):
    """A command ran on the device and failed."""


class SilentError(DeviceLostError):
    """Nothing came from a command on the device for too long; it may still be running there."""


class Shell(Protocol):
    """Another machine that runs commands.

    Attributes:
      name: its name in messages.
    """

    name: str

    def execute(self, *arguments: str, text: str = "") -> CompletedProcess:
        """Runs a command and waits for it; the command may fail.

        Args:
          *arguments: the command.
          text: the beginning of its input, which ends with this process.

        Raises:
          SilentError: it printed nothing for too long.
          DeviceLostError: the machine does not answer.
        """

    def push(self, source: Path, target: str) -> None:
        """Copies a file to the machine.

        Raises:
          DeviceLostError: the machine does not answer.
          CommandError: it cannot store the file, for example because it is full.
        """


def run(shell: Shell, *arguments: str) -> str:
    """Runs a command that must succeed, and returns what it printed.

    Raises:
      DeviceLostError: the machine does not answer.
      CommandError: the command failed.
    """
    done = shell.execute(*arguments)
    if done.returncode:
        raise CommandError(explain(shell, done))
    return done.stdout.strip()


def explain(shell: Shell, done: CompletedProcess) -> str:
    """Returns one line that says why a command on a machine failed."""
    line = last_line(done.stderr) or last_line(done.stdout) or f"exit code {done.returncode}"
    remedy = "; free some space on it" if _FULL in line else ""
    return f"{shell.name}: {line}{remedy}"


class SshShell:
    """A machine that can be reached by ssh without a password prompt."""

    def __init__(self, host: str, config: str | None, seconds: float):
        # ssh reads a host that starts with a dash as an option, even after "--".
        if host.startswith("-") or not host.isprintable() or " " in host:
            raise UserError(f"--host={host!r} is not a host; a host looks like user@board")
        self.name = host
        self._seconds = seconds
        self._command = [
            *("ssh", "-T", "-a", "-x", "-o", "BatchMode=yes"),
            *("-o", f"ConnectTimeout={_CONNECT_SECONDS}"),
            *("-o", f"ServerAliveInterval={_ALIVE_SECONDS}"),
            *("-o", f"ServerAliveCountMax={_ALIVE_COUNT}"),
            *(("-F", config) if config else ()),
            *("--", host),
        ]

    def execute(self, *arguments: str, text: str = "") -> CompletedProcess:
        """See `Shell`."""
        command = [*self._command, shlex.join(arguments)]
        return self._answered(call(command, self.name, self._seconds, text))

    def push(self, source: Path, target: str) -> None:
        """See `Shell`."""
        # Not scp: its server is missing on small boards, and it interprets file names.
        command = [*self._command, f"cat > {shlex.quote(target)}"]
        with _explained(command, self.name, self._seconds):
            done = subprocess.run(
                command,
                input=source.read_bytes(),
                capture_output=True,
                timeout=self._seconds,
                check=False,
            )
        texts = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
        done = self._answered(CompletedProcess(command, done.returncode, *texts))
        if done.returncode:
            raise CommandError(explain(self, done))

    def _answered(self, done: CompletedProcess) -> CompletedProcess:
        if done.returncode == _SSH_FAILED:
            reason = last_line(done.stderr) or "no reason given"
            raise DeviceLostError(
                f"{self.name} does not answer by ssh ({reason}); "
                "check that ssh to it works and asks no questions"
            )
        return done


class AdbShell:
    """An Android device that can be reached by adb."""

    def __init__(self, adb: str, serial: str, seconds: float):
        self.name = serial
        self._adb = adb
        self._seconds = seconds

    def execute(self, *arguments: str, text: str = "") -> CompletedProcess:
        """See `Shell`."""
        return self._run(["shell", shlex.join(arguments)], text)

    def push(self, source: Path, target: str) -> None:
        """See `Shell`."""
        done = self._run(["push", str(source.resolve()), target])
        if done.returncode:
            raise CommandError(explain(self, done))

    def _run(self, arguments: list[str], text: str = "") -> CompletedProcess:
        command = [self._adb, "-s", self.name]
        done = call([*command, *arguments], self.name, self._seconds, text)
        if done.returncode:
            # adb's own failures and those of the command have the same exit code.
            state = call([*command, "get-state"], self.name, _CONNECT_SECONDS)
            if state.stdout.strip() != "device":
                raise DeviceLostError(
                    f"{self.name} does not answer by adb ({last_line(state.stderr) or 'offline'}); "
                    "check its cable and that USB debugging is allowed"
                )
        return done


def call(command: list[str], name: str, seconds: float, text: str = "") -> CompletedProcess:
    """Runs a program on this machine.

    Args:
      command: ssh or adb, with its arguments.
      name: the device that should answer, for messages.
      seconds: the longest silence.
      text: the beginning of the program's input, which ends with this process.

    Raises:
      UserError: the program cannot be run.
      SilentError: there was no answer in time.
    """
    with _explained(command, name, seconds):
        return attended.run(command, text, seconds)


@contextlib.contextmanager
def _explained(command: list[str], name: str, seconds: float) -> Iterator[None]:
    """Raises what `call` raises for the failures of a program that the block runs."""
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        remedy = _REMEDIES.get(command[0], "install Android's platform-tools, or use --adb=PATH")
        raise UserError(f"the program {command[0]!r} cannot be run; {remedy}") from error
    except subprocess.TimeoutExpired as error:
        raise SilentError(
            f"{name} did not answer within {seconds:g} seconds; "
            "check that it still runs, or allow more time with --timeout"
        ) from error
