"""Names that a flag may hold."""

from collections.abc import Collection, Sequence

from common.cli import UserError


def choose(kind: str, names: Sequence[str] | None, known: Collection[str]) -> tuple[str, ...]:
    """Returns the names as given, or all that are known for None.

    Args:
      kind: what is named, such as "network", for the message.
      names: of the flag.
      known: all there are.

    Raises:
      UserError: a name that is not there.
    """
    for name in names or ():
        if name not in known:
            raise UserError(f"there is no {kind} {name!r}; there are {', '.join(known)}")
    return tuple(known if names is None else names)
