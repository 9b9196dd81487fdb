"""Measures the cost of several workers: bytes all-reduced per step, and when the link limits.

The bytes are counted in the training graph of each network. On this machine one worker and two are
timed in interleaved rounds, with one thread each, on images of 32 pixels.

Example:
  python -m benchmarks.scaling --networks=v2-0.5x,v1-1x-g3 --turns=0
"""

import dataclasses
import functools
import tempfile
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.measuring.results import Destination, define_flags, full_range
from benchmarks.training.trainings import run_command
from common import cli
from common.console.table import markdown_table
from edge.running.side_by_side import interleave
from trainers.reporting.metrics import last_evaluation
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks", None, "Networks to count, separated by commas; all by default."
)
_BATCH = flags.DEFINE_integer("batch_size", 64, "Images per step and worker.", lower_bound=1)
_WORKERS = flags.DEFINE_integer(
    "workers", 8, "Number of workers that the table is computed for.", lower_bound=2
)
_LINKS = flags.DEFINE_multi_float(
    "gigabits", [1, 10, 25], "Speed of a worker's link in Gb/s, each way.", lower_bound=0.001
)
_TURNS = flags.DEFINE_integer(
    "turns", 3, "Rounds in which one worker and two are timed; 0: only count.", lower_bound=0
)
_STEPS = flags.DEFINE_integer(
    "steps", 60, "Training steps per round; the last 20 are timed.", lower_bound=60
)
define_flags("scaling", document="docs/distribution.md")


def main() -> None:
    """Reads the flags, counts, measures, and writes the JSON file and the tables."""
    destination = Destination.from_flags("scaling")
    import_tensorflow()
    from benchmarks.measuring.networks import build, check_names
    from benchmarks.training.traffic import images_per_second, traffic

    names = check_names(_NETWORKS.value)
    run = destination.start()
    # First, because counting loads the machine too.
    settings = (_STEPS.value, _BATCH.value)
    trainings = {str(n): functools.partial(_images_per_second, n, *settings) for n in (1, 2)}
    rates = interleave(trainings, _TURNS.value)
    run |= {"batch_size": _BATCH.value, "workers": _WORKERS.value, "networks": {}}
    for name in names:
        counted = traffic(build(name))
        run["networks"][name] = dataclasses.asdict(counted) | {
            "images_per_second": {
                f"{link:g}": images_per_second(counted, _WORKERS.value, _BATCH.value, link)
                for link in _LINKS.value
            }
        }
    table = _counted_table(run["networks"])
    if _TURNS.value:
        run["measured"] = rates
        table += f"\n\n{_measured_table(rates)}"
    destination.write(run, table)


def _images_per_second(workers: int, steps: int, batch: int) -> float:
    """Trains for `steps` with one thread per worker; returns the images per second at the end."""
    command = ["trainers.train"] if workers == 1 else ["trainers.launch", f"--workers={workers}"]
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder, "work")
        run_command(
            *command, "--recipe=digits", f"--workdir={workdir}", f"--steps={steps}",
            f"--eval_every={steps}", f"--batch_size={batch * workers}",
            silent=True, env={"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
        )  # fmt: skip
        return last_evaluation(workdir)["images_per_second"]


def _counted_table(networks: dict[str, dict]) -> str:
    rows = [
        [
            name,
            f"{counted['gradients'] / 1e6:.2f}",
            f"{counted['statistics'] / 1e6:.3f}",
            # All gradients go into one more.
            str(counted["reductions"] + 1),
            *(f"{limit:,.0f}" for limit in counted["images_per_second"].values()),
        ]
        for name, counted in networks.items()
    ]
    links = next(iter(networks.values()))["images_per_second"]
    headers = ["network", "gradients, MB", "BatchNorm's sums, MB", "all-reduces"]
    return markdown_table([*headers, *(f"images/s at {link} Gb/s" for link in links)], rows)


def _measured_table(rates: dict[str, list[float]]) -> str:
    """Returns a markdown table of one worker and two; the ratios are within a round."""
    one, two = rates.values()
    ratio = full_range([b / a for a, b in zip(one, two, strict=True)], 2, unit="x")
    rows = [["1", f"{np.median(one):.0f}", "1"], ["2", f"{np.median(two):.0f}", ratio]]
    return markdown_table(["workers, one thread each", "images/s together", "times one"], rows)


if __name__ == "__main__":
    cli.run(main)
