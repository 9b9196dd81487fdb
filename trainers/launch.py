"""Trains with several workers on this machine, which find each other on the loopback interface.

python -m trainers.launch --workers=2 --recipe=digits --workdir=/tmp/digits

To try --strategy=multiworker, and to share a machine's cores or GPUs by processes. All flags but
those below go to `trainers.train`. What the workers print has their number in front; worker 0 is
the chief, which writes the results.

Exit codes: those of the worker that ended first, 0 if none failed; 128 + N if signal N killed it.
"""

from collections.abc import Sequence

from absl import flags

from common import cli
from common.child_process import module_command
from trainers.distribution.interrupts import EXIT_TERMINATED
from trainers.distribution.local_cluster import LocalCluster

_WORKERS = flags.DEFINE_integer("workers", 2, "How many processes train together.", lower_bound=1)
_RESTARTS = flags.DEFINE_integer(
    "restarts",
    0,
    "When a worker dies, begin again with --resume, at most so many times. An error that it tells "
    "(exit code 1) is none that another try would mend.",
    lower_bound=0,
)


def main(arguments: Sequence[str]) -> None:
    """Starts the workers, again if need be, and ends as they did."""
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
    """Returns the exit code of the last try, as of `LocalCluster.wait`."""
    while True:
        with LocalCluster(command, workers) as cluster:
            code = cluster.wait()
        lost = code < 0 or code == EXIT_TERMINATED
        if cluster.stopped or not lost or not restarts:
            return code
        print(f"a worker was lost ({_describe(code)}); beginning again with --resume", flush=True)
        restarts -= 1
        if "--resume" not in command:
            command = [*command, "--resume"]


def _describe(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"


if __name__ == "__main__":
    entry_point()
