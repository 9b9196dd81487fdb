"""Training steps of V2 in interleaved rounds of three processes: PyTorch, Keras and ours."""

import contextlib
import dataclasses
from collections.abc import Callable

import numpy as np

from common.console.table import markdown_table
from edge.running.measurement import interval, spread
from edge.running.side_by_side import interleave
from edge.running.worker import PersistentWorker


@dataclasses.dataclass(frozen=True)
class Setting:
    """The network, the images and the optimizer of a training step."""

    scale: float
    size: int
    batch_size: int
    small_images: bool
    classes: int
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 4e-5


SETTINGS = {
    "v2-0.5x-32px": Setting(0.5, 32, 64, True, 10),
    "v2-1x-32px": Setting(1.0, 32, 64, True, 10),
    "v2-0.5x-224px": Setting(0.5, 224, 32, False, 1000),
    "v2-1x-224px": Setting(1.0, 224, 32, False, 1000),
}
# The kinds of process: module, what its request has besides the setting, and environment variables.
# Without these, Keras, which is imported with the table of widths, would load TensorFlow as well.
_KINDS = {
    "PyTorch": ("benchmarks.training.torch_step", {}, {"KERAS_BACKEND": "torch"}),
    "Keras": ("benchmarks.training.tensorflow_step", {"graph": "plain"}, {}),
    "ours": ("benchmarks.training.tensorflow_step", {"graph": "training"}, {}),
}


def measure(
    setting: Setting, threads: int, rounds: int, steps: int, clock: str
) -> dict[str, list[float]]:
    """Returns by kind of process the milliseconds of a step in each round."""
    request = {**dataclasses.asdict(setting), "threads": threads}
    with contextlib.ExitStack() as stack:

        def task(module: str, more: dict, environment: dict) -> Callable[[], float]:
            worker = PersistentWorker(module, {**request, **more}, environment)
            stack.enter_context(worker)
            return lambda: float(np.median(worker.turn(steps, clock)))

        return interleave({kind: task(*process) for kind, process in _KINDS.items()}, rounds)


def summary(times: dict[str, list[float]], batch_size: int) -> dict:
    """Returns images per second by kind, and how much faster ours is, round by round."""
    ours = np.array(times["ours"])
    return {
        "images_per_second": {
            kind: spread(1e3 * batch_size / np.array(values)) for kind, values in times.items()
        },
        "faster_than": {
            kind: spread(np.array(values) / ours)
            for kind, values in times.items()
            if kind != "ours"
        },
    }


def speed_table(steps: list[dict]) -> str:
    """Returns a markdown table with a row per setting and number of threads."""
    rows = []
    for row in steps:
        speeds = [interval(row["images_per_second"][kind], digits=0) for kind in _KINDS]
        faster = [
            interval(row["faster_than"][kind], digits=2, bold=kind == "PyTorch", unit="x")
            for kind in ("PyTorch", "Keras")
        ]
        rows.append([row["setting"], str(row["threads"]), *speeds, *faster])
    headers = ["network", "threads", *(f"{kind}, images/s (p10-p90)" for kind in _KINDS)]
    return markdown_table([*headers, "faster than PyTorch", "faster than Keras"], rows)
