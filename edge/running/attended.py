"""Runs programs that end with this process, and that may be silent only for so long."""

import contextlib
import queue
import subprocess
from collections.abc import Mapping
from subprocess import CompletedProcess
from threading import Thread
from typing import IO

_CHUNK = 65536


def run(
    command: list[str],
    text: str,
    silence: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> CompletedProcess:
    """Runs a program and returns what it printed, as text.

    Its standard input stays open while it runs: when this process ends, even by SIGKILL, the input
    ends, and a program that waits for that (`runner.serve`) ends, too.

    Args:
      command: the program and its arguments.
      text: the beginning of its standard input.
      silence: seconds without any output after which the program is killed; None for no limit.
      environment: its environment variables; None for this process's.

    Raises:
      subprocess.TimeoutExpired: it printed nothing for `silence` seconds.
      OSError: the program cannot be run.
    """
    # Without buffers, so that a pipe can be closed while a thread still waits for it.
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, bufsize=0, env=environment, **pipes) as process:
        try:
            # If it has ended already, its output says why.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(text.encode())
            outputs = _read((process.stdout, process.stderr), command, silence)
            return CompletedProcess(command, process.wait(), *outputs)
        except BaseException:
            process.kill()
            raise


def _read(streams: tuple[IO, IO], command: list[str], silence: float | None) -> list[str]:
    """Returns the whole text of each stream."""
    chunks: queue.Queue[tuple[int, bytes]] = queue.Queue()
    for index, stream in enumerate(streams):
        Thread(target=_forward, args=(index, stream, chunks), daemon=True).start()
    found: list[list[bytes]] = [[] for _ in streams]
    running = len(streams)
    while running:
        try:
            index, chunk = chunks.get(timeout=silence)
        except queue.Empty:
            raise subprocess.TimeoutExpired(command, silence) from None
        found[index].append(chunk)
        running -= not chunk
    return [b"".join(parts).decode(errors="replace") for parts in found]


def _forward(index: int, stream: IO, chunks: queue.Queue) -> None:
    """Puts what the stream gives into the queue, then b"" at its end."""
    # A stream that was closed meanwhile raises ValueError.
    with contextlib.suppress(OSError, ValueError):
        while chunk := stream.read(_CHUNK):
            chunks.put((index, chunk))
    chunks.put((index, b""))
