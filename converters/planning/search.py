"""Finds and ranks the networks that fit a device, and writes their table for `converters.plan`."""

from dataclasses import dataclass

from absl import logging

from common.cli import UserError
from common.console.progress import Progress
from common.console.table import format_table
from common.tflite.vela_settings import VelaSettings, clock
from converters.planning import detectors
from converters.planning.config import TARGETS, Budget, PlanConfig
from converters.planning.measure import Candidate, Footprint, check_tool
from converters.planning.networks import PUBLISHED_ACCURACY, PUBLISHED_SIZE, training_flags

_NONE = "-"
# Of `--recipe=folder` and `--recipe=detection`.
_DEFAULT_CHANNELS = 3
# What a network can need too much of.
_WORDS = {
    **{"sram": "bytes of SRAM", "dram": "bytes of DRAM", "flash": "bytes of flash"},
    "latency_ms": "ms",
}
# What another of Vela's settings may bring down, at the price of cycles.
_VELA_CHANGES = ("sram", "dram")
# What a network needs at least, known without converting it, by target. TFLite Micro holds the
# whole image and Stage2's maps, and a .tflite file has a byte for each weight. Neither is true
# after Vela, which cuts feature maps into stripes and packs weights.
_BOUNDS = {
    "micro": {"sram": ("image_bytes", "map_bytes"), "flash": ("parameters",)},
    "edgetpu": {"sram": ("parameters",), "flash": ("parameters",)},
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
      vela: what Vela was told, for ethosu.
      clock_hz: of the system configuration whose cycles the latency counts, for ethosu.
    """

    network: str
    size: int
    macs: int
    ram_bytes: int
    flash_bytes: int
    latency_ms: float | None
    accuracy: float | None
    dram_bytes: int | None = None
    vela: VelaSettings | None = None
    clock_hz: int | None = None


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
    """The networks that fit, best first, and those that do not, nearest first.

    Attributes:
      fits, misses: of those that were tried.
      left: how many were not tried, because they are not better than the fits, or it was stopped.
      interrupted: whether it was stopped by Ctrl-C.
    """

    fits: tuple[Fit, ...]
    misses: tuple[Miss, ...]
    left: int = 0
    interrupted: bool = False


def make_plan(config: PlanConfig) -> Plan:
    """Measures the networks that may fit, the best first, until --top of them fit.

    Args:
      config: the flags of `converters.plan`.

    Returns:
      The plan, ordered by --rank; after Ctrl-C, of what has been measured.

    Raises:
      UserError: the measuring tool is not installed, or no network could be measured.
      KeyboardInterrupt: Ctrl-C, before anything fits.
    """
    check_tool(config.target)
    promising, misses = possible(config)
    excluded, fits = len(misses), list[Fit]()
    failures, tried, interrupted = [], 0, False
    with Progress("planning", len(promising), unit="network") as progress:
        try:
            for candidate in promising:
                if len(fits) == config.top:
                    break
                try:
                    result = _measured(candidate, config)
                except UserError as error:
                    logging.warning("%s is skipped: %s", candidate, error)
                    failures.append(error)
                else:
                    (fits if isinstance(result, Fit) else misses).append(result)
                tried += 1
                progress.update(tried)
        except KeyboardInterrupt:
            if not fits:
                if measured := misses[excluded:]:
                    nearest = min(measured, key=lambda miss: miss.excess)
                    logging.warning("none of the %d measured fits; the nearest: %s", tried, nearest)
                raise
            interrupted = True
    if failures and not fits and not misses:
        raise failures[0]
    return Plan(
        tuple(sorted(fits, key=lambda fit: _order(fit, config.rank))),
        tuple(sorted(misses, key=lambda miss: miss.excess)),
        len(promising) - tried,
        interrupted,
    )


def possible(config: PlanConfig) -> tuple[list[Candidate], list[Miss]]:
    """Returns the networks that may fit, by formula, best first, and the misses of the others."""
    promising, misses = [], []
    for network, size in config.pairs:
        candidate = Candidate(network, size, config)
        miss = _worst(candidate, _bounds(candidate, config), config.limits, at_least=True)
        promising.append(candidate) if miss is None else misses.append(miss)

    def order(candidate: Candidate) -> tuple:
        return _order_of(_published(candidate), candidate.counts.macs, config.rank)

    return sorted(promising, key=order), misses


def first_rows(config: PlanConfig) -> str:
    """Returns the table of the networks that may fit, by formula: nothing is measured for it.

    Args:
      config: the flags of `converters.plan`.
    """
    promising, misses = possible(config)
    if not promising:
        return f"By formula no network can fit (tried: {len(misses)})."
    rows = [
        (
            candidate.network,
            str(candidate.size),
            f"{candidate.counts.macs / 1e6:.2f}",
            *(
                f"{bounds[what] / 1024:,.1f}" if what in bounds else _NONE
                for bounds in [_bounds(candidate, config)]
                for what in ("sram", "flash")
            ),
        )
        for candidate in promising[: config.top]
    ]
    headers = ("may fit", "px", "million MACs", "RAM KB, at least", "flash KB, at least")
    return (
        f"{format_table(headers, rows, left_columns=1)}\n"
        f"By formula: {len(promising)} may fit, {len(misses)} cannot. Now they are measured, the "
        "first ones first; Ctrl-C lists what is measured by then."
    )


def _bounds(candidate: Candidate, config: PlanConfig) -> dict[str, float | None]:
    bounds: dict[str, float | None] = {
        what: max(getattr(candidate.counts, name) for name in names)
        for what, names in _BOUNDS[config.target].items()
    }
    if config.macs_per_second is not None:
        bounds["latency_ms"] = candidate.latency_ms()
    return bounds


def _measured(candidate: Candidate, config: PlanConfig) -> Fit | Miss:
    misses = []
    for found in candidate.footprints():
        latency = candidate.latency_ms(found)
        needs = {
            "sram": found.ram_bytes,
            "dram": found.dram_bytes,
            "flash": found.flash_bytes,
            "latency_ms": latency,
        }
        miss = _worst(candidate, needs, config.limits, at_least=False)
        if miss is None:
            return _fit(candidate, found, latency)
        misses.append(miss)
        if miss.what not in _VELA_CHANGES:
            break
    return min(misses, key=lambda miss: miss.excess)


def _published(candidate: Candidate) -> float | None:
    return PUBLISHED_ACCURACY.get(candidate.network) if candidate.size == PUBLISHED_SIZE else None


def _fit(candidate: Candidate, found: Footprint, latency: float | None) -> Fit:
    return Fit(
        network=candidate.network,
        size=candidate.size,
        macs=candidate.counts.macs,
        ram_bytes=found.ram_bytes,
        flash_bytes=found.flash_bytes,
        latency_ms=latency,
        accuracy=_published(candidate),
        dram_bytes=found.dram_bytes,
        vela=found.vela,
        clock_hz=found.clock_hz,
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
    # Between two networks with equal work, the one that needs less memory.
    return (*_order_of(fit.accuracy, fit.macs, rank), fit.ram_bytes)


def _order_of(accuracy: float | None, macs: int, rank: str) -> tuple:
    if rank == "accuracy":
        return (accuracy is None, -(accuracy or 0), -macs)
    return (-macs,)


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
    rows = [_row(fit, config) for fit in plan.fits]
    lines = [format_table(_headers(plan, config), rows, left_columns=1)]
    if plan.interrupted:
        lines.append(
            f"Stopped: {plan.left} networks that may fit were not measured; the same command goes "
            "on."
        )
    elif plan.left:
        lines.append(
            f"{plan.left} more may fit and are not better; --top={config.top + plan.left} measures "
            "all."
        )
    ram, flash = TARGETS[config.target]
    lines.append(f"RAM: {ram}. Flash: {flash}. {config.classes} classes, KB of 1024 bytes.")
    if config.target == "ethosu":
        lines.append(
            "DRAM: what Vela plans there, beside the SRAM. Vela: what it is told: --optimise, or "
            "the limit of its SRAM. "
            f"Time: Vela's estimate for {config.accelerator}, not a measurement."
        )
    if nearest:
        lines.append(f"Of those that do not fit, {nearest}.")
    lines.append("To train them on your images, in the table's order:")
    lines += [training_command(fit, config) for fit in plan.fits]
    return "\n".join(lines)


def training_command(fit: Fit, config: PlanConfig) -> str:
    """Returns the command that trains a network of the plan on a folder of images.

    Args:
      fit: the network.
      config: the settings of the plan.
    """
    channels = [] if config.channels == _DEFAULT_CHANNELS else [f"--channels={config.channels}"]
    recipe, own = "folder", training_flags
    if config.is_detection:
        recipe, own = "detection", lambda name: detectors.training_flags(name, config.strides)
    flags = [*own(fit.network), f"--input_size={fit.size}", *channels]
    places = f"--data_dir=PHOTOS --workdir={fit.network}-{fit.size}px"
    return f"shufflenet train --recipe={recipe} {places} {' '.join(flags)}"


def _headers(plan: Plan, config: PlanConfig) -> tuple[str, ...]:
    start = ("network", "px", "million MACs", "RAM KB")
    end = () if config.is_detection else ("published top-1",)
    if config.target != "ethosu":
        return (*start, "flash KB", "ms by rate", *end)
    # One system configuration, so one clock.
    at = clock(plan.fits[0].clock_hz)
    return (*start, "DRAM KB", "flash KB", "Vela", f"estimated ms at {at}", *end)


def _told(vela: VelaSettings) -> str:
    limit = "" if vela.arena_limit is None else f", {vela.arena_limit / 1024:,.0f} KB"
    return f"{vela.optimise or 'performance'}{limit}"


def _row(fit: Fit, config: PlanConfig) -> tuple[str, ...]:
    dram = _NONE if fit.dram_bytes is None else f"{fit.dram_bytes / 1024:,.1f}"
    return (
        fit.network,
        str(fit.size),
        f"{fit.macs / 1e6:.2f}",
        f"{fit.ram_bytes / 1024:,.1f}",
        *([dram] if config.target == "ethosu" else []),
        f"{fit.flash_bytes / 1024:,.1f}",
        *([_told(fit.vela)] if config.target == "ethosu" else []),
        _NONE if fit.latency_ms is None else f"{fit.latency_ms:,.2f}",
        *([] if config.is_detection else [_accuracy(fit)]),
    )


def _accuracy(fit: Fit) -> str:
    return _NONE if fit.accuracy is None else f"{fit.accuracy:.1f}%"
