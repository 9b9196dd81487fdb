"""How Vela is to compile: names from its own configuration file, checked before any work."""

import configparser
import functools
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from common.cli import UserError, check_bounds

# Vela's accelerator configurations: the NPU and its multiply-adds per cycle.
ACCELERATORS = (
    *("ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256"),
    *("ethos-u65-256", "ethos-u65-512"),
    *("ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048"),
)
# By our flag, Vela's word.
OPTIMISE = {"performance": "Performance", "size": "Size"}
_CONFIG_FILE = "config_files/Arm/vela.ini"
_SYSTEM, _MODE = "System_Config.", "Memory_Mode."
# What Vela may write feature maps to.
_WRITABLE = ("Sram", "Dram")
# Vela's own choice where no memory mode is given; for others than a U55 with a size of its cache.
_DEFAULT_MODES = {
    "ethos-u55": "Shared_Sram",
    **dict.fromkeys(("ethos-u65", "ethos-u85"), "Dedicated_Sram"),
}
# The largest that Vela takes for a U55.
_MAX_ARENA = 2**32


@dataclass(frozen=True)
class VelaSettings:
    """What Vela is told beside the accelerator; None leaves the choice to Vela.

    Attributes:
      system_config: the clock and memories around the NPU, by Vela's name.
      memory_mode: which memory holds weights, feature maps and their cache, by Vela's name.
      optimise: "performance" (Vela's default) for few cycles, "size" for little SRAM.
      arena_limit: the bytes that the SRAM must not exceed.

    Raises:
      UserError: a value is outside its choices or range.
    """

    system_config: str | None = None
    memory_mode: str | None = None
    optimise: str | None = None
    arena_limit: int | None = None

    def __post_init__(self) -> None:
        if self.optimise is not None and self.optimise not in OPTIMISE:
            raise UserError(
                f"--optimise must be one of {', '.join(OPTIMISE)}; received {self.optimise!r}"
            )
        if self.arena_limit is not None:
            check_bounds("arena_limit", self.arena_limit, 1, _MAX_ARENA)

    def arguments(self) -> list[str]:
        """Returns the command line's arguments for Vela."""
        given = {
            "--system-config": self.system_config,
            "--memory-mode": self.memory_mode,
            "--optimise": self.optimise and OPTIMISE[self.optimise],
            "--arena-cache-size": self.arena_limit,
        }
        return [
            word
            for name, value in given.items()
            if value is not None
            for word in (name, str(value))
        ]


def check_settings(accelerator: str, settings: VelaSettings) -> None:
    """Checks the accelerator, and the names in the settings against Vela's own.

    Args:
      accelerator: one of `ACCELERATORS`.
      settings: what Vela will be told.

    Raises:
      UserError: a name is unknown, is not for this accelerator, or the memory mode needs memory
        that the system configuration does not have; or Vela is not installed.

    Examples:
      >>> check_settings("ethos-u55-128", VelaSettings(memory_mode="Sram_Only"))
    """
    if accelerator not in ACCELERATORS:
        raise UserError(
            f"--accelerator must be one of {', '.join(ACCELERATORS)}; received {accelerator!r}"
        )
    if settings.system_config is not None:
        known = system_configs(accelerator)
        if settings.system_config not in known:
            raise UserError(
                f"--system_config must be one of {', '.join(known)} for {accelerator}; received "
                f"{settings.system_config!r}"
            )
    if settings.memory_mode is not None and settings.memory_mode not in memory_modes():
        raise UserError(
            f"--memory_mode must be one of {', '.join(memory_modes())}; received "
            f"{settings.memory_mode!r}"
        )
    if settings.system_config or settings.memory_mode:
        _check_memory(accelerator, settings)


def system_configs(accelerator: str) -> list[str]:
    """Returns Vela's names of system configurations for an accelerator's family.

    Examples:
      >>> system_configs("ethos-u55-128")
      ['Ethos_U55_Deep_Embedded', 'Ethos_U55_High_End_Embedded']
    """
    # ethos-u55-128 → Ethos_U55_
    family = accelerator.rpartition("-")[0].replace("ethos-u", "Ethos_U") + "_"
    return [name for name in _names(_SYSTEM) if name.startswith(family)]


def memory_modes() -> list[str]:
    """Returns Vela's names of memory modes."""
    return _names(_MODE)


def milliseconds(estimate: dict) -> float:
    """Returns the time that Vela's cycles take at the clock of its system configuration."""
    return 1e3 * estimate["cycles"]["total"] / estimate["clock_hz"]


def clock(hertz: float) -> str:
    """Returns a clock as text, such as "500 MHz"."""
    return f"{hertz / 1e6:g} MHz"


def _check_memory(accelerator: str, settings: VelaSettings) -> None:
    configs = [settings.system_config] if settings.system_config else system_configs(accelerator)
    mode = settings.memory_mode or _DEFAULT_MODES[accelerator.rpartition("-")[0]]
    if any(_runs(config, mode) for config in configs):
        return
    others = [mode for mode in memory_modes() if any(_runs(config, mode) for config in configs)]
    given = f"--memory_mode={mode}" if settings.memory_mode else f"Vela's default, {mode},"
    raise UserError(
        f"{given} writes feature maps to a memory that is read-only in {' and '.join(configs)}; "
        f"give --memory_mode one of {', '.join(others)}"
    )


def _runs(system_config: str, memory_mode: str) -> bool:
    port = _value(_MODE + memory_mode, "arena_mem_area")
    return _value(_SYSTEM + system_config, f"{port.lower()}_port") in _WRITABLE


def _value(section: str, key: str) -> str:
    """Returns a value of a section or, as in Vela, of the section that it inherits from."""
    values = _config()[section]
    return values[key] if key in values else _value(values["inherit"], key)


def _names(prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in _config().sections() if name.startswith(prefix)]


@functools.cache
def _config() -> configparser.ConfigParser:
    found = find_spec("ethosu")
    if found is None:
        raise UserError("Vela is not installed; pip install 'keras_shufflenet[ethosu]'")
    places = [Path(place) / _CONFIG_FILE for place in found.submodule_search_locations or ()]
    config = configparser.ConfigParser()
    if not config.read(places, encoding="utf-8"):
        raise UserError(
            f"this version of Vela has no {_CONFIG_FILE}, which has the names of its settings; "
            "install another: pip install 'keras_shufflenet[ethosu]'"
        )
    return config
