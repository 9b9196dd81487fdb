"""Compares training steps of ShuffleNet V2 with PyTorch: images per second on this CPU.

Network, batch, optimizer (SGD with Nesterov momentum and weight decay) and number of threads are
the same; the images are in memory. Three persistent workers run in interleaved rounds: the Keras
model as it is, the trainer's graph of it (`trainers/training_graph/build.py`), and PyTorch with
channels last. Needs PyTorch: pip install -e '.[bench-torch]'.

Example:
  python -m benchmarks.training_speed --settings=v2-0.5x-32px --threads=1
"""

from absl import flags

from benchmarks.measuring.results import Destination, define_flags, installed_versions
from benchmarks.training.steps import SETTINGS, measure, speed_table, summary
from common import cli
from common.choices import choose, whole_numbers
from common.console.progress import Progress

_SETTINGS = flags.DEFINE_list(
    "settings", None, f"What to measure, some of {', '.join(SETTINGS)}; all by default."
)
_THREADS = flags.DEFINE_list("threads", ["1", "2"], "Numbers of threads, separated by commas.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Rounds; each runs every process.", lower_bound=1)
_STEPS = flags.DEFINE_integer(
    "steps", 3, "Steps of a process per round; their median counts.", lower_bound=1
)
_CLOCK = flags.DEFINE_enum(
    "clock",
    "wall",
    ["wall", "process"],
    "wall: elapsed time; process: CPU time, for one thread on a busy machine.",
)
define_flags("training_speed")

_MAX_THREADS = 1024


def main() -> None:
    """Reads the flags, measures, and writes the JSON file and the table."""
    destination = Destination.from_flags("training_speed")
    names = choose("setting", _SETTINGS.value, SETTINGS)
    threads = whole_numbers("threads", _THREADS.value, 1, _MAX_THREADS)
    packages = ("keras", "tensorflow", "torch")
    versions = installed_versions(packages, "python -m pip install -e '.[bench-torch]'")
    run = destination.start(versions)
    run["clock"], run["steps"] = _CLOCK.value, []
    with Progress("measuring", len(names) * len(threads), unit="setting") as progress:
        for name in names:
            for count in threads:
                times = measure(SETTINGS[name], count, _ROUNDS.value, _STEPS.value, _CLOCK.value)
                batch = SETTINGS[name].batch_size
                run["steps"].append({"setting": name, "threads": count, **summary(times, batch)})
                progress.update(len(run["steps"]))
    destination.write(run, speed_table(run["steps"]))


if __name__ == "__main__":
    cli.run(main)
