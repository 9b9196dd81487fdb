"""Finds and ranks the networks that fit a device, and writes their table for `converters.plan`."""

from dataclasses import dataclass

from absl import logging

from common.cli import UserError
from common.progress import Progress
from common.table import format_table
from converters.planning.config import TARGETS, Budget, PlanConfig
from converters.planning.measure import Candidate, check_tool
from converters.planning.networks import PUBLISHED_ACCURACY, PUBLISHED_SIZE, training_flags

_NONE = "-"
# Channels of images that can be trained on, and those of `--recipe=folder`.
_TRAINED_CHANNELS, _DEFAULT_CHANNELS = (1, 3), 3
# What a network can need too much of.
_WORDS = {
    **{"sram": "bytes of SRAM", "dram": "bytes of DRAM", "flash": "bytes of flash"},
    "latency_ms": "ms",
}
# What a network needs at least, known without converting it, by target. TFLite Micro holds the
# whole image, and a .tflite file has a byte for each weight. Neither is true after Vela, which cuts
# feature maps into stripes and packs weights.
_BOUNDS = {
    "micro": {"sram": "image_bytes", "flash": "parameters"},
    "edgetpu": {"sram": "parameters", "flash": "parameters"},
    "ethosu": {},
}


@dataclass(frozen=True)
class Fit:
    """A network that fits.

    Attributes:
      network: its name.
      size: height and width of its images, pixels.
      macs: multiply-adds for one image.
      ram_bytes, flash_bytes: measured; `config.TARGETS` says what they are for each target.
      latency_ms: time for one image by the planner's rule, or None.
      accuracy: published top-1 accuracy on ImageNet at this resolution, percent, or None.
      dram_bytes: bytes of DRAM beside the SRAM, for ethosu; None for other targets.
    """

    network: str
    size: int
    macs: int
    ram_bytes: int
    flash_bytes: int
    latency_ms: float | None
    accuracy: float | None
    dram_bytes: int | None = None


@dataclass(frozen=True)
class Miss:
    """A network that does not fit.

    Attributes:
      candidate: as text, such as "v2-0.5x at 96 px".
      what: "sram", "dram", "flash" or "latency_ms".
      needed: how much it needs.
      limit: how much there is.
      at_least: whether `needed` is a lower bound, because the network was not converted.
    """

    candidate: str
    what: str
    needed: float
    limit: float
    at_least: bool

    @property
    def excess(self) -> float:
        """The need divided by the limit."""
        return self.needed / self.limit

    def __str__(self) -> str:
        amount, over = (f"{value:,.10g}" for value in (self.needed, self.needed - self.limit))
        least = "at least " if self.at_least else ""
        return f"{self.candidate} needs {least}{amount} {_WORDS[self.what]}, {over} too many"


@dataclass(frozen=True)
class Plan:
    """The networks that fit, best first, and those that do not, nearest first."""

    fits: tuple[Fit, ...]
    misses: tuple[Miss, ...]


def make_plan(config: PlanConfig) -> Plan:
    """Measures the networks that may fit; those that cannot are not converted.

    Args:
      config: the flags of `converters.plan`.

    Returns:
      The plan, ordered by --rank.

    Raises:
      UserError: the measuring tool is not installed, or no network could be measured.
    """
    check_tool(config.target)
    fits, misses, failures = [], [], []
    with Progress("planning", len(config.networks) * len(config.sizes), unit="network") as progress:
        for number, network in enumerate(config.networks, 1):
            for size in sorted(set(config.sizes)):
                candidate = Candidate(network, size, config)
                try:
                    result = _judge(candidate, config)
                except UserError as error:
                    logging.warning("%s is skipped: %s", candidate, error)
                    failures.append(error)
                    continue
                (fits if isinstance(result, Fit) else misses).append(result)
                if isinstance(result, Miss) and _BOUNDS[config.target]:
                    # More pixels never need less, except in Vela's plans.
                    break
            progress.update(number * len(config.sizes))
    if failures and not fits and not misses:
        raise failures[0]
    return Plan(
        tuple(sorted(fits, key=lambda fit: _order(fit, config.rank))),
        tuple(sorted(misses, key=lambda miss: miss.excess)),
    )


def _judge(candidate: Candidate, config: PlanConfig) -> Fit | Miss:
    counted = candidate.complexity
    bounds = {what: counted[count] for what, count in _BOUNDS[config.target].items()}
    if config.macs_per_second is not None:
        bounds["latency_ms"] = candidate.latency_ms
    if miss := _worst(candidate, bounds, config.budget, at_least=True):
        return miss
    found, latency = candidate.footprint, candidate.latency_ms
    ram, dram, flash = found["ram_bytes"], found.get("dram_bytes"), found["flash_bytes"]
    needs = {"sram": ram, "dram": dram, "flash": flash, "latency_ms": latency}
    if miss := _worst(candidate, needs, config.budget, at_least=False):
        return miss
    published = PUBLISHED_ACCURACY if candidate.size == PUBLISHED_SIZE else {}
    accuracy = published.get(candidate.network)
    return Fit(
        *(candidate.network, candidate.size, counted["macs"], ram, flash, latency, accuracy),
        dram_bytes=dram,
    )


def _worst(
    candidate: Candidate, needs: dict[str, float | None], budget: Budget, at_least: bool
) -> Miss | None:
    """Returns the need that exceeds its limit most, or None if all are within their limits."""
    limits = {what: getattr(budget, what) for what in needs}
    misses = [
        # A time from the chip's rate is exact before the conversion, too.
        Miss(str(candidate), what, needed, limits[what], at_least and what != "latency_ms")
        for what, needed in needs.items()
        if None not in (needed, limits[what]) and needed > limits[what]
    ]
    return max(misses, key=lambda miss: miss.excess, default=None)


def _order(fit: Fit, rank: str) -> tuple:
    if rank == "accuracy":
        return (fit.accuracy is None, -(fit.accuracy or 0), -fit.macs)
    # Between two networks with equal work, the one that needs less memory.
    return (-fit.macs, fit.ram_bytes)


def report(plan: Plan, config: PlanConfig) -> str:
    """Returns the table of the networks that fit, its legend, and the nearest that does not fit.

    Args:
      plan: as `make_plan` returned it.
      config: the settings that it was made with.

    Raises:
      UserError: nothing fits; the message names the nearest network.
    """
    nearest = f"the nearest: {plan.misses[0]}" if plan.misses else None
    if not plan.fits:
        raise UserError(f"no network fits; {nearest}; add smaller --networks or --sizes")
    rows = [_row(fit, config) for fit in plan.fits[: config.top]]
    lines = [format_table(_headers(config), rows, left_columns=1)]
    if len(plan.fits) > config.top:
        lines.append(f"{len(plan.fits) - config.top} more fit; --top={len(plan.fits)} lists all.")
    ram, flash = TARGETS[config.target]
    lines.append(f"RAM: {ram}. Flash: {flash}. {config.classes} classes, KB of 1024 bytes.")
    if config.target == "ethosu":
        lines.append(
            "DRAM: what Vela plans there, beside the SRAM. "
            f"Time: Vela's estimate for {config.accelerator}, not a measurement."
        )
    if nearest:
        lines.append(f"Of those that do not fit, {nearest}.")
    if config.channels in _TRAINED_CHANNELS:
        lines.append("To train them on your images, in the table's order:")
        lines += [training_command(fit, config) for fit in plan.fits[: config.top]]
    return "\n".join(lines)


def training_command(fit: Fit, config: PlanConfig) -> str:
    """Returns the command that trains a network of the plan on a folder of images."""
    channels = [] if config.channels == _DEFAULT_CHANNELS else [f"--channels={config.channels}"]
    flags = [*training_flags(fit.network), f"--input_size={fit.size}", *channels]
    places = f"--data_dir=PHOTOS --workdir={fit.network}-{fit.size}px"
    return f"shufflenet train --recipe=folder {places} {' '.join(flags)}"


def _headers(config: PlanConfig) -> tuple[str, ...]:
    ethosu = config.target == "ethosu"
    dram, latency = (("DRAM KB",), "estimated ms") if ethosu else ((), "ms by rate")
    memory = ("RAM KB", *dram, "flash KB")
    return ("network", "px", "million MACs", *memory, latency, "published top-1")


def _row(fit: Fit, config: PlanConfig) -> tuple[str, ...]:
    dram = _NONE if fit.dram_bytes is None else f"{fit.dram_bytes / 1024:,.1f}"
    return (
        fit.network,
        str(fit.size),
        f"{fit.macs / 1e6:.2f}",
        f"{fit.ram_bytes / 1024:,.1f}",
        *([dram] if config.target == "ethosu" else []),
        f"{fit.flash_bytes / 1024:,.1f}",
        _NONE if fit.latency_ms is None else f"{fit.latency_ms:,.2f}",
        _NONE if fit.accuracy is None else f"{fit.accuracy:.1f}%",
    )
