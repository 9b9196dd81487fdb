"""Interleaved rounds: everything compared runs once per round, so a busy moment affects all."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np

from common.cli import UserError
from common.console.progress import Progress
from edge.running import worker

_Key = TypeVar("_Key")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Turns:
    """How often files are measured in fresh processes.

    Attributes:
      rounds: rounds in a process; every file runs once per round.
      processes: fresh processes for every network.
      invokes: inferences of a file per round; their median counts.
      core: the CPU core to run on.
    """

    rounds: int
    processes: int
    invokes: int
    core: int

    def request(self) -> dict[str, int]:
        """Returns the part of a request that a worker needs."""
        return {name: count for name, count in asdict(self).items() if name != "processes"}


def interleave(
    tasks: Mapping[_Key, Callable[[], _Found]], rounds: int, progress: Progress | None = None
) -> dict[_Key, list[_Found]]:
    """Calls every task once per round, and returns the results of its calls by task.

    Args:
      tasks: the functions to call, by name.
      rounds: the number of rounds.
      progress: a progress bar of `rounds * len(tasks)` units, or None.

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
    """Returns the milliseconds [files, rounds of all processes] by network.

    The processes of all networks alternate.

    Args:
      module: the worker, such as "edge.running.timing"; it replies with `milliseconds`.
      requests: the worker's request by network; `turns` is added to it.
      turns: how often files are measured.

    Raises:
      UserError: a worker failed; the message names the network.
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
      UserError: the worker failed; the message starts with `name`.
    """
    try:
        return worker.call(module, request)
    except UserError as error:
        raise UserError(f"{name} cannot be measured: {error}") from error
