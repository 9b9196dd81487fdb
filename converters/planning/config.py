"""The settings of `converters.plan`, checked before TensorFlow is imported."""

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path

from common.cli import UserError, check_bounds
from common.tflite.vela_settings import VelaSettings, check_settings
from converters.measurement_cache import cache_folder
from converters.planning import detectors
from converters.planning.networks import DEFAULT_NETWORKS, SMALL, SMALL_SIDE, check_name
from trainers.settings import TASKS

# What --sram and --flash are compared with, by target.
TARGETS = {
    "micro": ("the arena in TFLite Micro", "the .tflite file"),
    "ethosu": ("the SRAM that Vela plans", "the compiled file"),
    "edgetpu": ("the weights in the chip's memory", "the .tflite file"),
}
RANKS = ("macs", "accuracy")
SIZES = (96, 128, 160, 192, 224)
SMALLEST_SIZE = 32
# Those that networks can be trained for.
CHANNELS = (1, 3)
LARGEST_SIZE = 8192


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
    task: str = TASKS[0]
    networks: tuple[str, ...] | None = None
    sizes: tuple[int, ...] = SIZES
    strides: tuple[int, ...] | None = None
    classes: int = 10
    channels: int = 3
    accelerator: str = "ethos-u55-128"
    vela: VelaSettings = field(default_factory=VelaSettings)
    macs_per_second: float | None = None
    rank: str = "macs"
    top: int = 20
    cache: Path = field(default_factory=default_cache)

    def __post_init__(self):
        choices = {"target": TARGETS, "rank": RANKS, "task": TASKS}
        for flag, known in choices.items():
            if getattr(self, flag) not in known:
                raise UserError(
                    f"--{flag} must be one of {', '.join(known)}; received {getattr(self, flag)!r}"
                )
        self._check_vela()
        if self.networks is None:
            object.__setattr__(self, "networks", self._default_networks())
        self._check_detectors() if self.is_detection else self._check_classifiers()
        if not self.networks or not self.sizes:
            raise UserError("--networks and --sizes must each name at least one")
        for size in self.sizes:
            check_bounds("sizes", size, SMALLEST_SIZE, LARGEST_SIZE)
        if self.channels not in CHANNELS:
            raise UserError(
                f"--channels must be {' or '.join(map(str, CHANNELS))}, as in shufflenet train; "
                f"received {self.channels}"
            )
        for flag, high in (("classes", 1e6), ("top", 1e6)):
            if getattr(self, flag) <= 0:
                raise UserError(f"--{flag} must be above 0; received {getattr(self, flag)}")
            check_bounds(flag, getattr(self, flag), 1, high)
        if self.budget == Budget():
            raise UserError("give what the device has: --sram, --dram, --flash or --latency")
        if self.budget.dram is not None and self.target != "ethosu":
            raise UserError(f"--dram needs --target=ethosu; received {self.target}")
        self._check_latency()

    @property
    def is_detection(self) -> bool:
        """Whether detectors are planned."""
        return self.task == "detection"

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """The (network, size) to try; networks named by default are also tried for small images."""
        sizes = sorted(set(self.sizes))
        found = [(name, size) for name in self.networks for size in sizes]
        if self.networks == DEFAULT_NETWORKS:
            found += [
                (name + SMALL, size)
                for name in self.networks
                for size in sizes
                if size <= SMALL_SIDE
            ]
        return found

    @property
    def limits(self) -> Budget:
        """The budget; Vela's limit counts as SRAM."""
        given = [size for size in (self.budget.sram, self.vela.arena_limit) if size is not None]
        return dataclasses.replace(self.budget, sram=min(given, default=None))

    @property
    def vela_attempts(self) -> tuple[VelaSettings, ...]:
        """What Vela is told, in turn, until a network fits; each may cost more cycles."""
        if self.vela.optimise is not None or self.vela.arena_limit is not None:
            return (self.vela,)
        size = dataclasses.replace(self.vela, optimise="size")
        if self.budget.sram is None:
            return (self.vela, size)
        return (self.vela, dataclasses.replace(self.vela, arena_limit=int(self.budget.sram)), size)

    def _default_networks(self) -> tuple[str, ...]:
        if not self.is_detection:
            return DEFAULT_NETWORKS
        # With --strides, those that find boxes there.
        wanted, every = {*(self.strides or ())}, detectors.DEFAULT_DETECTORS
        necks = {name: detectors.parts(name).neck for name in every}
        fits = (name for name in every if wanted <= {*detectors.all_strides(necks[name], None)})
        return tuple(fits) or every

    def _check_classifiers(self) -> None:
        for name in self.networks:
            check_name(name)
        if self.strides is not None:
            raise UserError("--strides is for --task=detection; leave it out")

    def _check_detectors(self) -> None:
        for name in self.networks:
            detectors.check_strides(detectors.parts(name).neck, self.strides)
        if any(size % detectors.COARSEST for size in self.sizes):
            raise UserError(
                f"--sizes must be multiples of {detectors.COARSEST} for a detector; received "
                f"{','.join(map(str, self.sizes))}"
            )
        if self.rank == "accuracy":
            raise UserError(
                "--rank=accuracy is for classifiers: detectors have no published accuracy on your "
                "objects; leave it out"
            )

    def _check_vela(self) -> None:
        check_settings(self.accelerator, self.vela)
        if self.vela != VelaSettings() and self.target != "ethosu":
            raise UserError(
                "--system_config, --memory_mode, --optimise and --arena_limit need "
                f"--target=ethosu; received {self.target}"
            )

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
