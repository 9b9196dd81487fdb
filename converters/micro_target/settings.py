"""The settings of the arena's search, and its result in words: what needs no TensorFlow."""

from dataclasses import dataclass

from common.cli import UserError

BANDS = ("auto", "off")


@dataclass(frozen=True)
class MemorySettings:
    """How much work may be spent on a smaller arena: the flags of `converters.convert`.

    Attributes:
      bands: "auto" computes the beginning in bands if that makes the arena smaller; "off": as
        a whole.
      max_overhead: the most extra multiply-adds, as a share of the network's.
      arena: the bytes that the arena must not exceed, reached with the least overhead; None: as
        small as the overhead allows.

    Raises:
      UserError: a value is outside its choices or range.
    """

    bands: str = "auto"
    max_overhead: float = 0.1
    arena: int | None = None

    def __post_init__(self) -> None:
        if self.bands not in BANDS:
            raise UserError(f"--bands must be one of {', '.join(BANDS)}; received {self.bands!r}")
        if not 0 <= self.max_overhead <= 1:
            raise UserError(
                "--max_overhead must be from 0% to 100% of the network's multiply-adds; received "
                f"{self.max_overhead:.10g}"
            )
        if self.bands == "off" and self.arena is not None:
            raise UserError("--arena needs --bands=auto: without bands there is nothing to choose")


def parse_share(flag: str, text: str) -> float:
    """Returns a share that is written as "10%" or "0.1".

    Raises:
      UserError: the text is not a number.

    Examples:
      >>> parse_share("max_overhead", "10%"), parse_share("max_overhead", "0.1")
      (0.1, 0.1)
    """
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = None
    if value is None or rest:
        raise UserError(f"--{flag} must be a share such as 10% or 0.1; received {text!r}")
    return value


def summary(entry: dict) -> str:
    """Returns one line about a file for the terminal.

    Args:
      entry: the file's field `memory` in the manifest.
    """
    arena = f"arena {entry['arena_before']:,} → {entry['arena_bytes']:,} bytes"
    if not entry["bands"]:
        return f"{arena} without bands: {entry['message']}"
    return (
        f"{arena}, the maps down to {entry['height']} rows in {entry['bands']} bands, "
        f"{entry['extra_share']:.1%} more multiply-adds"
    )
