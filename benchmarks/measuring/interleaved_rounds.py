"""Files that take turns in fresh processes: how often, and the loop over networks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.cli import UserError
from common.progress import Progress
from edge.running import worker


@dataclass(frozen=True)
class Turns:
    """How often is measured: the flags of `benchmarks.measuring.turn_flags`.

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
        """Returns what a worker is told of it."""
        return {"rounds": self.rounds, "invokes": self.invokes, "core": self.core}


def measure(module: str, requests: Mapping[str, dict], turns: Turns) -> dict[str, np.ndarray]:
    """Returns by network the milliseconds [files, rounds of all processes].

    Processes of all networks alternate, so that a slow minute does not hit one network alone.

    Args:
      module: the worker, such as "edge.running.timing"; it replies with `milliseconds`.
      requests: by network, what the worker is asked.
      turns: how many processes there are.

    Raises:
      UserError: a worker failed; the network is named.
    """
    times: dict[str, list[np.ndarray]] = {network: [] for network in requests}
    total = turns.processes * len(requests)
    with Progress("measuring", total, unit="run") as progress:
        for index, network in enumerate([*requests] * turns.processes, 1):
            reply = call(module, network, requests[network])
            times[network].append(np.array(reply["milliseconds"]))
            progress.update(index)
    return {network: np.concatenate(chunks, axis=1) for network, chunks in times.items()}


def call(module: str, network: str, request: dict) -> dict:
    """Returns a worker's reply; a UserError names the network."""
    try:
        return worker.call(module, request)
    except UserError as error:
        raise UserError(f"{network} cannot be measured: {error}") from error
