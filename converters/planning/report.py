"""A plan as text for the terminal."""

from common.cli import UserError
from common.table import format_table
from converters.planning.config import TARGETS, PlanConfig
from converters.planning.search import Fit, Plan

_NONE = "-"


def report(plan: Plan, config: PlanConfig) -> str:
    """Returns the table of what fits, what its columns mean, and the nearest that does not fit.

    Args:
      plan: of `converters.planning.search.make_plan`.
      config: what it was made for.

    Raises:
      UserError: nothing fits; the nearest is named.
    """
    nearest = f"the nearest: {plan.misses[0]}" if plan.misses else None
    if not plan.fits:
        raise UserError(f"no network fits; {nearest}; add smaller --networks or --sizes")
    rows = [_row(fit) for fit in plan.fits[: config.top]]
    lines = [format_table(_headers(config), rows, left_columns=1)]
    if len(plan.fits) > config.top:
        lines.append(f"{len(plan.fits) - config.top} more fit; --top={len(plan.fits)} lists all.")
    ram, flash = TARGETS[config.target]
    lines.append(f"RAM: {ram}. Flash: {flash}. {config.classes} classes, KB of 1024 bytes.")
    if config.target == "ethosu":
        lines.append(f"Time: Vela's estimate for {config.accelerator}, not a measurement.")
    if nearest:
        lines.append(f"Of those that do not fit, {nearest}.")
    return "\n".join(lines)


def _headers(config: PlanConfig) -> tuple[str, ...]:
    latency = "estimated ms" if config.target == "ethosu" else "ms by rate"
    return ("network", "px", "million MACs", "RAM KB", "flash KB", latency, "published top-1")


def _row(fit: Fit) -> tuple[str, ...]:
    return (
        fit.network,
        str(fit.size),
        f"{fit.macs / 1e6:.2f}",
        f"{fit.ram_bytes / 1024:,.1f}",
        f"{fit.flash_bytes / 1024:,.1f}",
        _NONE if fit.latency_ms is None else f"{fit.latency_ms:,.2f}",
        _NONE if fit.accuracy is None else f"{fit.accuracy:.1f}%",
    )
