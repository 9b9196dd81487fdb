"""Opens a page in a Chromium of this machine, without a window."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from common.cli import UserError

_PROGRAMS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge"),
)
_SECONDS_TO_END = 10
_ARGUMENTS = (
    "--headless=new",
    "--no-first-run",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-background-networking",
    # A page without a window would be slowed down.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    # Containers have a small /dev/shm.
    "--disable-dev-shm-usage",
)
# It reads commands from descriptor 3 and ends with it: so it ends with this process, even by
# SIGKILL. The shell is there because Python passes descriptors on only under their own numbers.
_START = 'exec "$@" 3<&0 4>/dev/null'


class Chromium:
    """A browser without a window that shows one page, until the block ends.

    Args:
      url: the page.
      program: its name or path; None for the first that is found.

    Raises:
      UserError: there is none.
    """

    def __init__(self, url: str, program: str | None = None):
        self._program = find_chromium(program)
        self._url = url
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._stderr = Path(self._folder.name) / "stderr"
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "Chromium":
        arguments = [*_ARGUMENTS, f"--user-data-dir={self._folder.name}", "--remote-debugging-pipe"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Its sandbox does not start as root.
            arguments.append("--no-sandbox")
        with self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                ["sh", "-c", _START, "sh", self._program, *arguments, self._url],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        return self

    def __exit__(self, *unused: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def check(self) -> None:
        """Raises UserError if the browser has ended by itself."""
        if self._process.poll() is not None:
            lines = self._stderr.read_text("utf-8", "replace").strip().splitlines()
            raise UserError(
                f"{self._program} ended with exit code {self._process.returncode} "
                f"({lines[-1][:200] if lines else 'no message'}); name another with --browser"
            )


def find_chromium(program: str | None = None) -> str:
    """Returns the path of a Chromium.

    Raises:
      UserError: there is none, or not the one named.
    """
    found = [path for name in ([program] if program else _PROGRAMS) if (path := shutil.which(name))]
    if not found:
        raise UserError(
            f"there is no {program or 'Chromium'}; install it (apt-get install chromium), name one "
            "with --browser, or measure a phone's browser with --wait=1 --listen=0.0.0.0"
        )
    return found[0]
