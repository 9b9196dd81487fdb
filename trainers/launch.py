"""Trains with several workers (processes) on this machine, connected by the loopback interface.

Example:
  shufflenet launch --workers=2 --recipe=digits --workdir=/tmp/digits

Use it to try --strategy=multiworker, or to share a machine's cores or GPUs between processes. All
flags except those below are passed on to `shufflenet train`. Each line that a worker prints starts
with its number; worker 0 is the chief, which writes the results. No other machine can reach the
workers' ports.

Exit codes: 0 if no worker failed, else that of the worker that ended first; 128 + N if signal N
killed it.
"""

from collections.abc import Sequence

from absl import flags

from common import cli
from common.child_process import module_command
from trainers.distribution.interrupts import EXIT_TERMINATED
from trainers.distribution.local_cluster import LocalCluster

_WORKERS = flags.DEFINE_integer(
    "workers", 2, "How many processes train together.", lower_bound=1, upper_bound=64
)
_RESTARTS = flags.DEFINE_integer(
    "restarts",
    0,
    "How many times to start again with --resume after a worker dies. An error that a worker "
    "reports (exit code 1) ends the training, because another try would not help.",
    lower_bound=0,
    upper_bound=1_000_000,
)


def main(arguments: Sequence[str]) -> None:
    """Starts the workers, restarts them if needed, and exits with their code."""
    command = module_command(
        "trainers.train", "--strategy=multiworker", "--cluster=tf_config", *arguments
    )
    code = _train(command, _WORKERS.value, _RESTARTS.value)
    if code:
        raise SystemExit(code if code > 0 else 128 - code)


def entry_point() -> None:
    """Runs the command."""
    cli.run_with_rest(main)


def _train(command: list[str], workers: int, restarts: int) -> int:
    """Returns the exit code of the last try, as `LocalCluster.wait` does."""
    while True:
        with LocalCluster(command, workers) as cluster:
            code = cluster.wait()
        lost = code < 0 or code == EXIT_TERMINATED
        if cluster.stopped or not lost or not restarts:
            return code
        print(f"a worker was lost ({_describe(code)}); starting again with --resume", flush=True)
        restarts -= 1
        if "--resume" not in command:
            command = [*command, "--resume"]


def _describe(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"


if __name__ == "__main__":
    entry_point()
