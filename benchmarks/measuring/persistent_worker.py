"""Processes that stay alive and take turns, for what is slow to set up."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from common.cli import UserError
from edge.running import worker

_CLOCKS = {"wall": time.perf_counter, "process": time.process_time}


class LiveWorker:
    """A process that sets itself up once and then takes turns.

    Args:
      module: its main part is `serve(make)`.
      request: what `make` gets, JSON values.
      environment: variables that it gets on top of this process's.

    Raises:
      UserError: as every method, the process ended; what it wrote to stderr last is quoted.

    Examples:
      >>> with LiveWorker("benchmarks.training.tensorflow_step", request) as worker:
      ...     milliseconds = worker.turn(5, "wall")
    """

    def __init__(self, module: str, request: dict, environment: dict[str, str] | None = None):
        self._module = module
        # A file: nobody reads while it runs, and a full pipe would stop it.
        self._stderr = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**worker.environment(), **(environment or {})},
            text=True,
            errors="replace",
        )
        self._ask(request)

    def turn(self, steps: int, clock: str) -> list[float]:
        """Returns the milliseconds of several steps, after one that is not counted.

        Args:
          steps: how many count.
          clock: "wall", or "process" for the CPU time of all its threads.
        """
        return self._ask({"steps": steps, "clock": clock})["milliseconds"]

    def __enter__(self) -> "LiveWorker":
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
        # It is gone: no pipe to write to, or an empty line.
        except (BrokenPipeError, json.JSONDecodeError):
            self._process.communicate()
            with self._stderr:
                self._stderr.seek(0)
                last = worker.last_line(self._stderr.read()) or "no message"
            raise UserError(f"python -m {self._module} ended: {last}") from None


def serve(make: Callable[[dict], Callable[[], object]]) -> None:
    """Takes turns with what `make` returns for the first request; the main part of a worker."""
    step = make(json.loads(sys.stdin.readline()))
    step()
    print("{}", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        clock = _CLOCKS[request["clock"]]
        step()
        times = []
        for _ in range(request["steps"]):
            start = clock()
            step()
            times.append(1e3 * (clock() - start))
        print(json.dumps({"milliseconds": times}), flush=True)
