"""Which networks fit a device: the search of `converters.plan`."""

from collections.abc import Iterator
from dataclasses import dataclass

from absl import logging

from common.cli import UserError
from common.progress import Progress
from converters.planning.config import PlanConfig
from converters.planning.measure import Candidate, check_tool
from converters.planning.networks import PUBLISHED_ACCURACY, PUBLISHED_SIZE

# What a network may need too much of.
_WORDS = {"sram": "bytes of SRAM", "flash": "bytes of flash", "latency_ms": "ms"}
# By target: what a network needs at least, told without converting it. TFLite Micro holds the
# stem's input and output at the same time, and a .tflite file has a byte for each weight. Behind
# Vela, which cuts maps into stripes and packs weights, neither is so.
_BOUNDS = {
    "micro": {"sram": "stem_bytes", "flash": "parameters"},
    "edgetpu": {"sram": "parameters", "flash": "parameters"},
    "ethosu": {},
}


@dataclass(frozen=True)
class Fit:
    """A network that fits.

    Attributes:
      network: its name.
      size: height and width of its images, pixels.
      macs: multiply-adds of one image.
      ram_bytes, flash_bytes: measured, what they are by the target (plan_config.TARGETS).
      latency_ms: of one image by the planner's rule, or None.
      accuracy: published top-1 on ImageNet at this resolution, percent, or None.
    """

    network: str
    size: int
    macs: int
    ram_bytes: int
    flash_bytes: int
    latency_ms: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Miss:
    """A network that does not fit.

    Attributes:
      candidate: as text, such as "v2-0.5x at 96 px".
      what: "sram", "flash" or "latency_ms".
      needed: how much it needs.
      limit: how much there is.
      at_least: whether `needed` is a lower bound, because it was not converted.
    """

    candidate: str
    what: str
    needed: float
    limit: float
    at_least: bool

    @property
    def excess(self) -> float:
        """How many times the limit it needs."""
        return self.needed / self.limit

    def __str__(self) -> str:
        amount, over = (f"{value:,.10g}" for value in (self.needed, self.needed - self.limit))
        least = "at least " if self.at_least else ""
        return f"{self.candidate} needs {least}{amount} {_WORDS[self.what]}, {over} too many"


@dataclass(frozen=True)
class Plan:
    """What fits, the best first, and what does not, the nearest first."""

    fits: tuple[Fit, ...]
    misses: tuple[Miss, ...]


def make_plan(config: PlanConfig) -> Plan:
    """Measures the networks that may fit; those that cannot are not even converted.

    Args:
      config: the flags of `converters.plan`.

    Returns:
      The plan; its order is that of --rank.

    Raises:
      UserError: what measures is not installed, or no network could be measured at all.
    """
    check_tool(config.target)
    fits, misses, failures = [], [], []
    with Progress("planning", len(config.networks) * len(config.sizes), unit="network") as progress:
        done = 0
        for network in config.networks:
            for candidate, result in _search(network, config):
                {Fit: fits, Miss: misses, UserError: failures}[type(result)].append(result)
                if isinstance(result, UserError):
                    logging.warning("%s is left out: %s", candidate, result)
            done += len(config.sizes)
            progress.update(done)
    if failures and not fits and not misses:
        raise failures[0]
    return Plan(
        tuple(sorted(fits, key=lambda fit: _order(fit, config.rank))),
        tuple(sorted(misses, key=lambda miss: miss.excess)),
    )


def _search(network: str, config: PlanConfig) -> Iterator[tuple[Candidate, Fit | Miss | UserError]]:
    """Yields what came of a network at growing resolutions, up to the first that does not fit."""
    for size in sorted(set(config.sizes)):
        candidate = Candidate(network, size, config)
        try:
            result = _judge(candidate, config)
        except UserError as error:
            result = error
        yield candidate, result
        if isinstance(result, Miss) and _BOUNDS[config.target]:
            # More pixels take no less; only Vela's plans are not so regular.
            return


def _judge(candidate: Candidate, config: PlanConfig) -> Fit | Miss:
    bounds = {what: candidate.complexity[count] for what, count in _BOUNDS[config.target].items()}
    if config.macs_per_second is not None:
        bounds["latency_ms"] = candidate.latency_ms
    if miss := _worst(candidate, bounds, config, at_least=True):
        return miss
    found, latency = candidate.footprint, candidate.latency_ms
    needs = {"sram": found["ram_bytes"], "flash": found["flash_bytes"], "latency_ms": latency}
    if miss := _worst(candidate, needs, config, at_least=False):
        return miss
    at_published_size = candidate.size == PUBLISHED_SIZE
    return Fit(
        network=candidate.network,
        size=candidate.size,
        macs=candidate.complexity["macs"],
        ram_bytes=found["ram_bytes"],
        flash_bytes=found["flash_bytes"],
        latency_ms=latency,
        accuracy=PUBLISHED_ACCURACY.get(candidate.network) if at_published_size else None,
    )


def _worst(
    candidate: Candidate, needs: dict[str, float | None], config: PlanConfig, at_least: bool
) -> Miss | None:
    """Returns the need that exceeds its limit by most, or None if all keep theirs."""
    misses = [
        Miss(str(candidate), what, needed, limit, at_least and what != "latency_ms")
        for what, needed in needs.items()
        if needed is not None
        and (limit := getattr(config.budget, what)) is not None
        and needed > limit
    ]
    return max(misses, key=lambda miss: miss.excess, default=None)


def _order(fit: Fit, rank: str) -> tuple:
    if rank == "accuracy":
        return (fit.accuracy is None, -(fit.accuracy or 0), -fit.macs)
    # Of two with equal work the one that takes less memory.
    return (-fit.macs, fit.ram_bytes)
