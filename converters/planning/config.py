"""The settings of `converters.plan`, checked before TensorFlow is imported."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from common.cli import UserError, check_bounds
from common.tflite.vela import ACCELERATORS
from converters.measurement_cache import cache_folder
from converters.planning.networks import DEFAULT_NETWORKS, check_name

# What --sram and --flash are compared with, by target.
TARGETS = {
    "micro": ("the arena in TFLite Micro", "the .tflite file"),
    "ethosu": ("the SRAM that Vela plans", "the compiled file"),
    "edgetpu": ("the weights in the chip's memory", "the .tflite file"),
}
RANKS = ("macs", "accuracy")
SIZES = (96, 128, 160, 192, 224)
SMALLEST_SIZE = 32
_MAX_SIDE = 8192


@dataclass(frozen=True)
class Budget:
    """A device's limits: bytes of memory, and milliseconds for one image; None is no limit."""

    sram: float | None = None
    dram: float | None = None
    flash: float | None = None
    latency_ms: float | None = None


def default_cache() -> Path:
    """Returns the folder of measurements in the user's cache."""
    return cache_folder("plan")


@dataclass(frozen=True)
class PlanConfig:
    """What to search for: the flags of `converters.plan`."""

    budget: Budget
    target: str = "micro"
    networks: tuple[str, ...] = DEFAULT_NETWORKS
    sizes: tuple[int, ...] = SIZES
    classes: int = 10
    channels: int = 3
    accelerator: str = "ethos-u55-128"
    macs_per_second: float | None = None
    rank: str = "macs"
    top: int = 20
    cache: Path = field(default_factory=default_cache)

    def __post_init__(self):
        choices = {"target": TARGETS, "rank": RANKS, "accelerator": ACCELERATORS}
        for flag, known in choices.items():
            if getattr(self, flag) not in known:
                raise UserError(
                    f"--{flag} must be one of {', '.join(known)}; received {getattr(self, flag)!r}"
                )
        for name in self.networks:
            check_name(name)
        if not self.networks or not self.sizes:
            raise UserError("--networks and --sizes must each name at least one")
        if min(self.sizes) < SMALLEST_SIZE:
            raise UserError(f"--sizes must be at least {SMALLEST_SIZE}; received {min(self.sizes)}")
        check_bounds("sizes", max(self.sizes), SMALLEST_SIZE, _MAX_SIDE)
        for flag, high in (("classes", 1e6), ("channels", _MAX_SIDE), ("top", 1e6)):
            if getattr(self, flag) <= 0:
                raise UserError(f"--{flag} must be above 0; received {getattr(self, flag)}")
            check_bounds(flag, getattr(self, flag), 1, high)
        if self.budget == Budget():
            raise UserError("give what the device has: --sram, --dram, --flash or --latency")
        if self.budget.dram is not None and self.target != "ethosu":
            raise UserError(f"--dram needs --target=ethosu; received {self.target}")
        self._check_latency()

    def _check_latency(self) -> None:
        speed = self.macs_per_second
        if speed is not None and (self.target != "micro" or not 0 < speed < math.inf):
            raise UserError(
                "--macs_per_second must be above 0 and needs --target=micro; "
                f"received {speed} for {self.target}"
            )
        if self.budget.latency_ms is None:
            return
        if self.target == "edgetpu":
            raise UserError(
                "--latency is not supported with --target=edgetpu, whose time cannot be predicted; "
                "measure the networks that fit on an Edge TPU"
            )
        if self.target == "micro" and speed is None:
            raise UserError(
                "--latency with --target=micro needs --macs_per_second, because a time measured on "
                "this machine says nothing about a microcontroller; run a network on your chip and "
                "divide its multiply-adds by the seconds"
            )
