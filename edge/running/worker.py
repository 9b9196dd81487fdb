"""Processes for measurements: fresh ones, and persistent ones for tasks with a slow setup.

Each process has its own memory and initialization, and a crash in a runtime's C++ code ends only
this process, not the benchmark.
"""

import json
import os
import queue
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from threading import Thread

from common.child_process import module_command, module_environment
from common.cli import UserError
from edge.running import attended, runner

_CLOCKS = {"wall": time.perf_counter, "process": time.process_time}


def call(module: str, request: dict, silence: float | None = None) -> dict:
    """Runs a module on a request in a fresh process, and returns its reply.

    The process ends with this one, even if this one is killed.

    Args:
      module: a module whose main part is `serve(task)`.
      request: JSON values.
      silence: seconds without progress after which the process is killed; None for no limit.

    Raises:
      UserError: the worker reported a mistake, made no progress, or died.
    """
    line = json.dumps({**request, "attended": True}) + "\n"
    try:
        done = attended.run(module_command(module), line, silence, module_environment())
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"its process was stopped after {silence:g} seconds without progress; "
            "allow more time with --timeout"
        ) from error
    if done.returncode:
        raise UserError(f"its process died with {_describe_exit(done)}")
    values = json.loads(done.stdout)
    if "error" in values:
        raise UserError(values["error"])
    return values


def last_line(text: str) -> str:
    """Returns the last line that says something, or ""; in a traceback it is the exception."""
    lines = (line.strip() for line in reversed(text.splitlines()))
    return next((line for line in lines if line not in ("", runner.PROGRESS)), "")


def serve(task: Callable[[dict], dict]) -> None:
    """Reads a request from stdin, runs `task` on it and prints the reply to stdout."""
    runner.serve(task, (UserError, runner.RunnerError))


class PersistentWorker:
    """A process that is set up once and then measures whenever it is asked to.

    Args:
      module: a module whose main part is `serve_turns(make)`.
      request: the argument of `make`, JSON values.
      environment: variables that the process gets in addition to this process's.

    Raises:
      UserError: the process ended, here or in a method; the message quotes its last line on stderr.

    Examples:
      >>> with PersistentWorker("benchmarks.training.tensorflow_step", request) as worker:
      ...     milliseconds = worker.turn(5, "wall")
    """

    def __init__(self, module: str, request: dict, environment: dict[str, str] | None = None):
        self._module = module
        # A file, because nothing reads it while the process runs, and a full pipe would stop it.
        self._stderr = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            module_command(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**module_environment(), **(environment or {})},
            text=True,
            errors="replace",
        )
        self._ask(request)

    def turn(self, steps: int, clock: str) -> list[float]:
        """Returns the milliseconds of several steps, after one that is not counted.

        Args:
          steps: the number of steps that count.
          clock: "wall", or "process" for the CPU time of all threads.
        """
        return self._ask({"steps": steps, "clock": clock})["milliseconds"]

    def __enter__(self) -> "PersistentWorker":
        return self

    def __exit__(self, *unused: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def _ask(self, request: dict) -> dict:
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
        # The process has ended: there is no pipe to write to, or the line is empty.
        except (BrokenPipeError, json.JSONDecodeError):
            self._process.communicate()
            with self._stderr:
                self._stderr.seek(0)
                last = last_line(self._stderr.read()) or "no message"
            raise UserError(f"python -m {self._module} ended: {last}") from None


def serve_turns(make: Callable[[dict], Callable[[], object]]) -> None:
    """Runs the steps that `make` returns for the first request; a persistent worker's main."""
    lines: queue.Queue[str] = queue.Queue()
    Thread(target=_forward_lines, args=(lines,), daemon=True).start()
    step = make(json.loads(lines.get()))
    step()
    print("{}", flush=True)
    while True:
        request = json.loads(lines.get())
        clock = _CLOCKS[request["clock"]]
        step()
        times = [runner.timed(step, clock) for _ in range(request["steps"])]
        print(json.dumps({"milliseconds": times}), flush=True)


def _forward_lines(lines: queue.Queue) -> None:
    """Puts the lines of stdin into the queue; at its end nobody asks any more, so all ends."""
    # Not sys.stdin: at its own end Python could not close it while this thread reads.
    with os.fdopen(os.dup(0)) as stdin:
        for line in stdin:
            lines.put(line)
    os._exit(0)


def _describe_exit(done: subprocess.CompletedProcess) -> str:
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    return f"exit code {done.returncode}: {last_line(done.stderr) or 'no message'}"
