"""Workers on one machine: started together, watched, and ended together."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import TextIO

from common.cli import EXIT_INTERRUPTED
from trainers.distribution.interrupts import EXIT_TERMINATED

# How long the other workers may take to end by themselves: to save too, after one was stopped as it
# should be; to notice, after one failed (TensorFlow's heartbeats take 10 s).
_SECONDS_TO_SAVE, _SECONDS_TO_NOTICE = 60, 15
_SECONDS_TO_TERMINATE = 5
_SECONDS_BETWEEN_LOOKS = 0.1


class LocalCluster:
    """Processes that find each other through TF_CONFIG on the loopback interface.

    A context manager. What the workers print appears here, each line after the worker's number.
    SIGTERM and Ctrl-C are forwarded to all of them. All of them have ended when the block ends.

    Args:
      command: the command that each worker runs.
      workers: the number of workers.

    Attributes:
      processes: in the order of their numbers; the first is the chief.
      stopped: whether SIGTERM or Ctrl-C arrived.

    Examples:
      >>> with LocalCluster(module_command("trainers.train", …), workers=2) as cluster:
      ...     code = cluster.wait()
    """

    def __init__(self, command: Sequence[str], workers: int):
        self.stopped = False
        self._handlers: dict[int, object] = {}
        self._readers: list[threading.Thread] = []
        addresses = [f"127.0.0.1:{port}" for port in _free_ports(workers)]
        self.processes = [_start(command, addresses, index) for index in range(workers)]
        for index, process in enumerate(self.processes):
            self._pass_on(index, process.stdout, sys.stdout)
            self._pass_on(index, process.stderr, sys.stderr)

    def __enter__(self) -> "LocalCluster":
        # Python allows it only in the main thread.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._forward)
        return self

    def __exit__(self, *unused_error: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for reader in self._readers:
            reader.join()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def wait(self) -> int:
        """Returns the exit code of the worker that failed first; 0: none failed.

        The others get some time to end too, because they wait for the one that failed. As in
        `subprocess`, the code of a worker that a signal killed is the signal's number, negative.
        """
        while not (failed := self._failed()):
            if not self._running():
                return 0
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        code = failed[0].returncode
        saves = code in (EXIT_TERMINATED, EXIT_INTERRUPTED)
        self._end(_SECONDS_TO_SAVE if saves else _SECONDS_TO_NOTICE)
        return code

    def _running(self) -> list[subprocess.Popen]:
        return [process for process in self.processes if process.poll() is None]

    def _failed(self) -> list[subprocess.Popen]:
        return [process for process in self.processes if process.poll()]

    def _end(self, seconds: float) -> None:
        if not self._waited(seconds):
            for process in self._running():
                process.terminate()
            self._waited(_SECONDS_TO_TERMINATE)
        for process in self._running():
            process.kill()
            process.wait()

    def _waited(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._running() and time.monotonic() < deadline:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return not self._running()

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        for process in self._running():
            process.send_signal(number)

    def _pass_on(self, index: int, stream: TextIO, screen: TextIO) -> None:
        def pass_on() -> None:
            with stream:
                for line in stream:
                    screen.write(f"[worker {index}] {line}")
                    screen.flush()

        reader = threading.Thread(target=pass_on, daemon=True)
        reader.start()
        self._readers.append(reader)


def _start(command: Sequence[str], addresses: Sequence[str], index: int) -> subprocess.Popen:
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return subprocess.Popen(
        command,
        env={**os.environ, "TF_CONFIG": json.dumps(config)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # Otherwise Ctrl-C in a terminal would reach them twice: directly and forwarded.
        start_new_session=True,
    )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        # All ports are held until all are found, so that they differ.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
