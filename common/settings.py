"""Settings as dataclass fields: default, help text, bounds and choices stand once, and make flags.

Example:
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Camera(Settings):
      width: int = setting(640, "Pixels of a row.", minimum=1)
"""

import dataclasses
import math
import numbers
import os
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from absl import flags

# The flags belong to the module that calls `define_flags`: its --help lists them.
flags.disclaim_key_flags()

FLAGS = flags.FLAGS
# Of a setting without another bound; far above what makes sense.
LARGEST = 1e9
_TYPES: dict[type, tuple[type, ...]] = {
    bool: (bool,),
    float: (numbers.Real,),
    int: (numbers.Integral,),
    str: (str, os.PathLike),
}
_WORDS = {bool: "true or false", float: "a number", int: "an integer", str: "text"}
_DEFINE = {
    bool: flags.DEFINE_bool,
    float: flags.DEFINE_float,
    int: flags.DEFINE_integer,
    str: flags.DEFINE_string,
}


def setting(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float = LARGEST,
    interval: str | None = None,
    choices: Sequence[Any] | None = None,
) -> Any:
    """Returns a dataclass field of a `Settings` class.

    Args:
      default: of the field; `dataclasses.MISSING`: it must be given.
      help: what it means, for readers of the class and as the help text of its flag.
      minimum: a value must be at least this, and at most `maximum`.
      maximum: such that nothing overflows.
      interval: where a value must lie, such as "[0, 1)" or "(0, inf)".
      choices: the values there are.
    """
    metadata = {"help": help, "interval": interval, "choices": choices}
    metadata |= {"minimum": minimum, "maximum": maximum}
    return dataclasses.field(default=default, metadata=metadata)


class Settings:
    """Base class of a frozen dataclass of `setting` fields, which it checks. None is always right.

    Raises:
      ValueError: a value outside its choices or bounds, with its name.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                _check_type(field.name, value, _kind(field.type))
                _check(field.name, value, **field.metadata)


def _check_type(name: str, value: Any, kind: type) -> None:
    # A file can hold anything; True is an int in Python, but no number of a setting's.
    good = isinstance(value, _TYPES[kind]) and isinstance(value, bool) == (kind is bool)
    # The bounds have a better message for it.
    if kind is int and isinstance(value, float) and not math.isfinite(value):
        return
    if not good:
        raise ValueError(f"{name} must be {_WORDS[kind]}, got {value!r:.60}")


def _check(name: str, value: Any, help, minimum, maximum, interval, choices) -> None:
    if choices and value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")
    if minimum is not None and not minimum <= value < math.inf:
        raise ValueError(f"{name} must be a number of at least {minimum}, got {value}")
    if minimum is not None and value > maximum:
        raise ValueError(f"{name} must be at most {maximum:.15g}, got {value}")
    if interval and not _is_in(value, interval):
        raise ValueError(f"{name} must be in {interval}, got {value}")


def _is_in(value: float, interval: str) -> bool:
    low, high = map(float, interval[1:-1].split(","))
    # Comparisons with a value that is not a number are False.
    above = low <= value if interval[0] == "[" else low < value
    return above and (value <= high if interval[-1] == "]" else value < high)


def define_flags(settings: type, names: Mapping[str, str | None] | None = None) -> list[str]:
    """Defines a flag for each `setting` of a class, as one of the module that calls this.

    The flags' default is None, for "not given"; `given_flags` reads them.

    Args:
      settings: the class; fields without a help text get no flag.
      names: of the fields that get one, each with its help text, or None for the field's own; all
        where this is None.

    Returns:
      The flags' names.
    """
    defined = []
    for field in dataclasses.fields(settings):
        if "help" in field.metadata and (names is None or field.name in names):
            text = (names or {}).get(field.name) or field.metadata["help"]
            _DEFINE[_kind(field.type)](field.name, None, text)
            defined.append(field.name)
    return defined


def _kind(annotation: Any) -> type:
    """Returns the type of a field, of `int | None` too."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = set(typing.get_args(annotation)) - {types.NoneType}
    return annotation


def given_flags(names: Iterable[str]) -> dict[str, Any]:
    """Returns the values of those flags that are on the command line, by name."""
    return {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}
