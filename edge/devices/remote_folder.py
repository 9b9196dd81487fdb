"""Our folder on another machine: for everything that a benchmark puts there, and as its lock."""

import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

from common.cli import UserError
from edge.devices import shell as shells
from edge.devices.device import DeviceLostError
from edge.devices.shell import Shell, SilentError
from edge.running.measurement import now

NAME = "shufflenet_benchmark"
_OWNER = "owner.json"
_PROCESS = "process"
# A process is known by its number and the time of its start (field 22 of its stat file): another
# one may get its number. A zombie computes no more. No user input is in these lines.
_STARTED = """started() { sed -n 's/.*) [^ZX] //p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f19; }
"""
_START = _STARTED + 'echo "$$ $(started $$)" >"$0" && exec "$@"'
_STOP = (
    _STARTED
    + """read process start <"$0" || exit 0
waited=0
while [ "$(started "$process")" = "$start" ]; do
  kill -9 "$process" 2>/dev/null
  [ $waited -lt 100 ] || exit 1
  waited=$((waited + 1))
  sleep 0.1
done"""
)


class RemoteFolder:
    """A folder that exists while one benchmark uses the machine.

    The folder is also the lock, because only one process can make it: two benchmarks at the same
    time would disturb each other. A folder that an ended process of this machine left there, for
    example because the device stopped answering, is taken over.

    Args:
      shell: runs commands on the machine.
      parent: an existing folder on the machine.

    Attributes:
      path: the folder's path on the machine.
    """

    def __init__(self, shell: Shell, parent: str):
        self.path = f"{parent.rstrip('/')}/{NAME}"
        self._shell = shell
        self._created = False

    def create(self) -> None:
        """Makes the folder.

        Raises:
          DeviceLostError: the machine does not answer.
          UserError: the machine is busy, or the folder cannot be made.
        """
        done = self._shell.execute("mkdir", "-m", "700", self.path)
        if done.returncode:
            if self._shell.execute("test", "-d", self.path).returncode:
                raise shells.CommandError(shells.explain(self._shell, done))
            self._check_abandoned()
            # It would disturb the next benchmark.
            if not self._stop():
                raise UserError(
                    f"{self._shell.name} is busy: what an ended benchmark started there cannot be "
                    "stopped; restart it"
                )
            shells.run(self._shell, "rm", "-rf", self.path)
            shells.run(self._shell, "mkdir", "-m", "700", self.path)
        self._created = True
        self._sign()

    def put(self, source: Path, name: str) -> str:
        """Copies a file into the folder and returns its path on the machine.

        Args:
          source: the file on this machine, of any name.
          name: its name on the machine; chosen by us, so that it is safe in a shell.
        """
        target = f"{self.path}/{name}"
        self._shell.push(source, target)
        return target

    def execute(self, *arguments: str, text: str = "") -> CompletedProcess:
        """Runs a program on the machine as `Shell.execute` does; if it is silent, stops it there.

        Raises:
          DeviceLostError: it was silent for too long, or the machine does not answer; the message
            says whether it was stopped.
        """
        process = f"{self.path}/{_PROCESS}"
        try:
            return self._shell.execute("sh", "-c", _START, process, *arguments, text=text)
        except SilentError as error:
            end = "was stopped" if self._stop() else "could not be stopped and may still run"
            raise DeviceLostError(f"{error}; what ran there {end}") from error

    def remove(self) -> None:
        """Removes the folder if it was made; says on stderr if it cannot be removed."""
        if not self._created:
            return
        self._created = False
        try:
            shells.run(self._shell, "rm", "-rf", self.path)
        except UserError as error:
            print(
                f"{self.path} is left on {self._shell.name} ({error}); "
                "the next benchmark from this machine removes it",
                file=sys.stderr,
            )

    def _stop(self) -> bool:
        """Ends what `execute` started and waits for its end; returns whether nothing runs."""
        process = f"{self.path}/{_PROCESS}"
        try:
            return self._shell.execute("sh", "-c", _STOP, process).returncode == 0
        except DeviceLostError:
            return False

    def _sign(self) -> None:
        owner = {"machine": socket.gethostname(), "process": os.getpid(), "since": now()}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _OWNER
            path.write_text(json.dumps(owner), encoding="utf-8")
            self.put(path, _OWNER)

    def _check_abandoned(self) -> None:
        done = self._shell.execute("cat", f"{self.path}/{_OWNER}")
        try:
            owner = json.loads(done.stdout)
            machine, process, since = owner["machine"], int(owner["process"]), owner["since"]
        except (ValueError, KeyError, TypeError):
            machine, process, since = "somebody", 0, "an unknown time"
        if machine != socket.gethostname() or _is_running(process):
            raise UserError(
                f"{self._shell.name} is busy: a benchmark of {machine} has used it since {since}; "
                f"wait for it or, if it has ended, remove {self.path} there"
            )


def _is_running(process: int) -> bool:
    """Returns whether `process`, if it is another than this one, is running on this machine."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # It belongs to another user.
        return True
    return True
