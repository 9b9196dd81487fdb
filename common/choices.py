"""Checks names and numbers that the user listed."""

import re
from collections.abc import Collection, Sequence

from common.cli import UserError, check_bounds

_MAX_DIGITS = 18


def choose(kind: str, names: Sequence[str] | None, known: Collection[str]) -> tuple[str, ...]:
    """Returns `names`, or all of `known` if `names` is None.

    Args:
      kind: what the names stand for, such as "network"; for the message.
      names: what the user chose.
      known: all valid names.

    Raises:
      UserError: a name is not known.
    """
    for name in names or ():
        if name not in known:
            raise UserError(f"there is no {kind} {name!r}; there are {', '.join(known)}")
    return tuple(known if names is None else names)


def whole_numbers(flag: str, texts: Sequence[str], low: int, high: int) -> tuple[int, ...]:
    """Returns the numbers that a flag lists.

    Args:
      flag: its name, for the message.
      texts: its words.
      low, high: the bounds of each number.

    Raises:
      UserError: there is none, or a word is no whole number between the bounds.

    Examples:
      >>> whole_numbers("cores", ["0", "1"], 0, 1023)
      (0, 1)
    """
    if not texts or not all(re.fullmatch(rf"-?[0-9]{{1,{_MAX_DIGITS}}}", text) for text in texts):
        raise UserError(
            f"--{flag} must be whole numbers separated by commas; received {','.join(texts)!r}"
        )
    numbers = tuple(map(int, texts))
    for number in numbers:
        check_bounds(flag, number, low, high)
    return numbers
