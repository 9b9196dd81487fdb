"""Checks names that the user gave."""

from collections.abc import Collection, Sequence

from common.cli import UserError


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
