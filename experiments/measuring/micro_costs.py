"""What files cost in TFLite Micro, side by side: flash, arena, and time in its simulation."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.tflite.micro_runtime import MicroRuntime
from converters.micro_target.flat_graph import FlatGraph
from edge.running.micro_worker import timed_inference
from edge.running.side_by_side import interleave


@dataclass(frozen=True)
class Cost:
    """What a file costs.

    Attributes:
      flash_bytes: of the file.
      arena_bytes: of TFLite Micro's arena on this machine.
      fastest_ms: the CPU time of an inference with portable kernels on this machine.
    """

    flash_bytes: int
    arena_bytes: int
    fastest_ms: float

    def within(self, other: "Cost") -> bool:
        """Returns whether all three are less than another's."""
        return (
            self.flash_bytes < other.flash_bytes
            and self.arena_bytes < other.arena_bytes
            and self.fastest_ms < other.fastest_ms
        )


def measure_costs(contents: Mapping[str, bytes], rounds: int) -> dict[str, Cost]:
    """Returns the costs of int8 files, which run in turn, so that their times compare.

    Args:
      contents: of .tflite files, by name.
      rounds: inferences of each.

    Examples:
      >>> measure_costs({"ResNet-8": path.read_bytes()}, rounds=9)["ResNet-8"].arena_bytes
      55984
    """
    runtimes = {name: MicroRuntime(content) for name, content in contents.items()}
    tasks = {
        name: functools.partial(timed_inference, runtimes[name], [_image(content)])
        for name, content in contents.items()
    }
    times = interleave(tasks, rounds)
    return {
        name: Cost(len(content), runtimes[name].arena_bytes(), min(times[name]))
        for name, content in contents.items()
    }


def _image(content: bytes) -> np.ndarray:
    shape = FlatGraph(content).input_shape
    return np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
