"""What the processes that train together send each other besides gradients."""

import contextlib
import functools
import hashlib
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common.cli import UserError
from trainers.distribution.cluster import Cluster
from trainers.distribution.interrupts import EXIT_TERMINATED, Interrupts
from trainers.distribution.lock import locked

# The errors that the death of a worker can raise in the others, depending on when it happens.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


class Workers:
    """The processes that train together; usually there is only one, which sends nothing.

    All of them must call each method, in the same order, because they wait for each other.

    Args:
      cluster: the processes.
      strategy: made for that cluster.
    """

    def __init__(self, cluster: Cluster, strategy: tf.distribute.Strategy):
        self._cluster, self._strategy = cluster, strategy
        self._asked: tf.Tensor | None = None

    @property
    def is_chief(self) -> bool:
        """Whether this is the process whose state and files are used."""
        return self._cluster.is_chief

    def add(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum of every worker's values, [n]; in float32 if there are several."""
        if self._cluster.size == 1:
            return values
        return self._add(tf.constant(values, tf.float32)).numpy()

    @functools.cached_property
    def _add(self) -> tf.types.experimental.PolymorphicFunction:
        devices = self._strategy.num_replicas_in_sync // self._cluster.size

        def add_replica(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # Only one of a worker's devices sends its values.
            speaks = context.replica_id_in_sync_group % devices == 0
            values = tf.where(speaks, values, tf.zeros_like(values))
            return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def add(values: tf.Tensor) -> tf.Tensor:
            sums = self._strategy.run(add_replica, args=(values,))
            return self._strategy.experimental_local_results(sums)[0]

        return add

    def broadcast(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the chief's arrays, bit-identical; all workers pass arrays of these shapes."""
        arrays = [np.asarray(array) for array in arrays]
        if self._cluster.size == 1:
            return arrays
        data = b"".join(array.tobytes() for array in arrays)
        # 16-bit integers, because float32 holds them exactly, and adds them to zeros exactly.
        words = np.frombuffer(data + bytes(len(data) % 2), np.uint16).astype(np.float32)
        words = self.add(words if self._cluster.is_chief else np.zeros_like(words))
        received, values = words.astype(np.uint16).tobytes(), []
        for array in arrays:
            count = math.prod(array.shape)
            values.append(np.frombuffer(received, array.dtype, count).reshape(array.shape))
            received = received[array.nbytes :]
        return values

    def wait(self) -> None:
        """Returns when all workers have reached this call."""
        self.add(np.zeros(1))

    @contextlib.contextmanager
    def chief_first(self) -> Iterator[None]:
        """The other workers start the block when the chief has finished it."""
        if not self._cluster.is_chief:
            self.wait()
        yield
        if self._cluster.is_chief:
            self.wait()

    def check_same(self, values: Mapping[str, Any]) -> None:
        """Checks that all workers have the same values, by name; compares their `repr`.

        Raises:
          UserError: the values differ; raised on all workers, and the message names the values.
        """
        mine = np.array([_digest(value) for value in values.values()])
        (chiefs,) = self.broadcast([mine])
        differ = self.add((mine != chiefs).any(axis=1))
        found = [
            f"{name} (here {value!r})"
            for (name, value), workers in zip(values.items(), differ, strict=True)
            if workers
        ]
        if found:
            raise UserError(
                f"the workers have different {', '.join(found)}; start them with the same flags, "
                "data and versions"
            )

    def check(self, interrupts: Interrupts) -> None:
        """Raises the same as `interrupts.check`, on all workers after the same step.

        A worker that was not interrupted itself raises SystemExit.
        """
        if self._cluster.size == 1:
            return interrupts.check()
        # Reads the answer to the previous check, so that no device waits for its host.
        before, self._asked = self._asked, self._add(tf.constant([float(interrupts.received)]))
        if before is not None and before.numpy().any():
            interrupts.check()
            raise SystemExit(EXIT_TERMINATED)
        return None


@contextlib.contextmanager
def own_folder(workdir: str, cluster: Cluster) -> Iterator[str]:
    """Yields the workdir that only this process writes to.

    The chief locks the run's workdir. Any other worker gets a temporary one, and its output is
    discarded, because all of them compute and print the same.

    Raises:
      UserError: another process has locked the run's workdir.
    """
    if cluster.is_chief:
        with locked(workdir):
            yield workdir
        return
    with (
        tempfile.TemporaryDirectory(prefix="shufflenet-worker-") as folder,
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        yield folder


@contextlib.contextmanager
def lost_workers_reported(cluster: Cluster, command: str) -> Iterator[None]:
    """Reports the death of another worker in one line, with the exit code of a preemption.

    Args:
      cluster: if this process is the only one, nothing is done.
      command: flags to continue with.

    Raises:
      SystemExit: with EXIT_TERMINATED; what was trained since the last checkpoint is lost.
    """
    try:
        yield
    except _LOST as error:
        if cluster.size == 1:
            raise
        reason = error.message.strip().partition("\n")[0]
        print(
            f"error: another of the {cluster.size} workers was lost ({type(error).__name__}: "
            f"{reason}); to continue from the last checkpoint, start all of them {command}",
            file=sys.stderr,
            flush=True,
        )
        raise SystemExit(EXIT_TERMINATED) from None


def _digest(value: Any) -> list[int]:
    return list(hashlib.sha256(repr(value).encode()).digest())
