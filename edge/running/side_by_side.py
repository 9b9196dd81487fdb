"""Interleaved rounds: what is compared takes turns, so that a slow minute hits all of it alike."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np

from common.cli import UserError
from common.progress import Progress
from edge.running import worker

_Key = TypeVar("_Key")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Turns:
    """How often files are measured in fresh processes.

    Attributes:
      rounds: turns of every file in a process.
      processes: fresh processes for every network.
      invokes: inferences in a turn, which counts by their median.
      core: CPU core to run on.
    """

    rounds: int
    processes: int
    invokes: int
    core: int

    def request(self) -> dict[str, int]:
        """Returns what a worker must know of it."""
        return {name: count for name, count in asdict(self).items() if name != "processes"}


def interleave(
    tasks: Mapping[_Key, Callable[[], _Found]], rounds: int, progress: Progress | None = None
) -> dict[_Key, list[_Found]]:
    """Calls every task once a round, and returns by task what its calls returned.

    Args:
      tasks: what takes turns.
      rounds: how often.
      progress: of `rounds * len(tasks)` units, or None.

    Examples:
      >>> interleave({"a": lambda: 1, "b": lambda: 2}, rounds=3)
      {'a': [1, 1, 1], 'b': [2, 2, 2]}
    """
    found: dict[_Key, list[_Found]] = {key: [] for key in tasks}
    for turn in range(rounds):
        for index, (key, task) in enumerate(tasks.items(), 1):
            found[key].append(task())
            if progress is not None:
                progress.update(turn * len(tasks) + index)
    return found


def measure(module: str, requests: Mapping[str, dict], turns: Turns) -> dict[str, np.ndarray]:
    """Returns by network the milliseconds [files, rounds of all processes].

    Processes of all networks alternate.

    Args:
      module: the worker, such as "edge.running.timing"; it replies with `milliseconds`.
      requests: by network, what the worker is asked; the turns are added.
      turns: how often.

    Raises:
      UserError: a worker failed; the network is named.
    """

    def task(network: str) -> Callable[[], np.ndarray]:
        request = {**requests[network], **turns.request()}
        return lambda: np.array(call(module, network, request)["milliseconds"])

    with Progress("measuring", turns.processes * len(requests), unit="run") as progress:
        tasks = {network: task(network) for network in requests}
        times = interleave(tasks, turns.processes, progress)
    return {network: np.concatenate(chunks, axis=1) for network, chunks in times.items()}


def call(module: str, name: str, request: dict) -> dict:
    """Returns a worker's reply.

    Raises:
      UserError: the worker failed; `name` says what could not be measured.
    """
    try:
        return worker.call(module, request)
    except UserError as error:
        raise UserError(f"{name} cannot be measured: {error}") from error
