"""A board reached by ssh: what the devices ssh and coral have in common."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from common.cli import UserError
from edge.devices import shell as shells
from edge.devices.device import Job
from edge.devices.remote_folder import RemoteFolder
from edge.devices.shell import SshShell
from edge.running import runner
from edge.running.worker import last_line

_RUNNER = Path(runner.__file__)


class Board:
    """Runs `edge.running.runner` on a board; call `prepare` first, and always `clean_up`.

    Args:
      job: its options give the board and its Python.

    Raises:
      UserError: the options name no board.
    """

    def __init__(self, job: Job):
        options = job.options
        if not options["host"]:
            raise UserError("--host is missing; name the board, such as --host=pi@raspberrypi")
        self.name = options["host"]
        self._python = options["board_python"]
        self._shell = SshShell(self.name, options["ssh_config"], options["timeout"])
        self._folder: RemoteFolder | None = None
        self._runner = ""

    def prepare(self) -> None:
        """Makes our folder on the board, copies the runner into it, and tries the runner.

        Raises:
          UserError: the board does not answer, is busy or full, or lacks Python or LiteRT.
        """
        # The board's folder for temporary files: its TMPDIR, or /tmp.
        name = last_line(shells.run(self._shell, "mktemp", "-u"))
        self._folder = RemoteFolder(self._shell, str(PurePosixPath(name).parent))
        self._folder.create()
        try:
            self._runner = self._folder.put(_RUNNER, _RUNNER.name)
            self.call({"task": "describe"})
        except UserError:
            self._folder.remove()
            raise

    def put(
        self, files: Mapping[str, dict], samples: Path | None
    ) -> tuple[dict[str, dict], str | None]:
        """Copies models and images to the board.

        Args:
          files: by any name, {"path" on this machine, "sha256"}.
          samples: an .npz file on this machine; None for none.

        Returns:
          The files with their paths on the board, and the path of the samples on the board.
        """
        there = {
            name: {**file, "path": self._folder.put(Path(file["path"]), f"model_{index}.tflite")}
            for index, (name, file) in enumerate(files.items())
        }
        return there, None if samples is None else self._folder.put(samples, "samples.npz")

    def call(self, request: dict) -> dict:
        """Sends the runner a request and returns its reply.

        Raises:
          DeviceLostError: the board does not answer.
          UserError: the runner reported a mistake, or failed.
        """
        line = json.dumps({**request, "attended": True}) + "\n"
        done = self._folder.execute(self._python, self._runner, text=line)
        if done.returncode:
            raise UserError(
                f"the runner failed on {shells.explain(self._shell, done)}; it needs Python 3.7 or "
                f"newer (--board_python={self._python}), numpy and ai-edge-litert or tflite-runtime"
            )
        try:
            reply = dict(json.loads(done.stdout))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{self.name} sent more than the runner's reply ({done.stdout[:60]!r}); keep its "
                "shell's start-up files from printing"
            ) from error
        if "error" in reply:
            raise UserError(f"{self.name}: {reply['error']}")
        return reply

    def clean_up(self) -> None:
        """Removes our folder from the board."""
        if self._folder is not None:
            self._folder.remove()
