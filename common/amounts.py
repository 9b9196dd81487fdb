"""Sizes and times as users write them: 320KB, 50ms."""

import math
import re

from common.cli import UserError

# In the data sheets of chips, KB means 1024 bytes.
_BYTES = {
    **{"": 1, "b": 1, "kb": 2**10, "kib": 2**10, "mb": 2**20, "mib": 2**20},
    **{"gb": 2**30, "gib": 2**30},
}
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_SIZES = "320KB, 1.5MiB or 327680 (KB and KiB are 1024 bytes, MB and MiB 1024 KB)"
_TIMES = "50ms, 0.2s or 800us"


def parse_amount(flag: str, text: str | None) -> float | None:
    """Returns a size in bytes or a time in milliseconds; None for None.

    Args:
      flag: its name, for the message; "latency" is a time, every other a size.
      text: a number with its unit: none, B, KB, KiB (both 1024 bytes), MB, MiB, GB or GiB; us, ms
        or s.

    Raises:
      UserError: the text is not such an amount.

    Examples:
      >>> parse_amount("sram", "1.5KB"), parse_amount("latency", "0.2s")
      (1536.0, 200.0)
    """
    if text is None:
        return None
    what, units, example = "size", _BYTES, _SIZES
    if flag == "latency":
        what, units, example = "time", _MILLISECONDS, _TIMES
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    unit = None if match is None else units.get(match[2].lower())
    value = 0.0 if unit is None else float(match[1]) * unit
    if not 0 < value < math.inf:
        raise UserError(f"--{flag} must be a {what} above 0, such as {example}; received {text!r}")
    return value
