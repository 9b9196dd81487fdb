"""Fresh processes for measurements: memory and initialization are a process's own.

A crash in a runtime's C++ code ends such a process and not the benchmark.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from common.child_process import module_command
from common.cli import UserError
from edge.running import runner


def call(module: str, request: dict) -> dict:
    """Runs a module on a request, in a process of its own, and returns its reply.

    Args:
      module: a module whose main part is `serve(task)`.
      request: JSON values.

    Raises:
      UserError: the worker reported a mistake, or died.
    """
    done = subprocess.run(
        module_command(module),
        input=json.dumps(request),
        env=environment(),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise UserError(f"its process died with {_describe_exit(done)}")
    values = json.loads(done.stdout)
    if "error" in values:
        raise UserError(values["error"])
    return values


def environment() -> dict[str, str]:
    """Returns the variables of a worker: it finds the packages wherever this process found them."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def last_line(text: str) -> str:
    """Returns the last line that is not empty, or "": of a traceback the exception."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def serve(task: Callable[[dict], dict]) -> None:
    """Reads a request from stdin, runs `task` on it and prints the reply to stdout."""
    runner.serve(task, (UserError, runner.RunnerError))


def _describe_exit(done: subprocess.CompletedProcess) -> str:
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    return f"exit code {done.returncode}: {last_line(done.stderr) or 'no message'}"
