"""Checks of what was read from JSON that may be damaged or hostile."""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from common.cli import UserError


def is_int(low: int, high: float) -> Callable[[Any], bool]:
    """Returns a check: whether a value is an integer between `low` and `high`, both included."""
    # bool is an int in Python, but not in a manifest.
    return lambda value: type(value) is int and low <= value <= high


def is_text(value: Any) -> bool:
    """Returns whether a value is a printable text that is not empty."""
    return isinstance(value, str) and bool(value) and value.isprintable()


def is_sha256(value: Any) -> bool:
    """Returns whether a value is a SHA-256 in hexadecimal digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def is_object(value: Any) -> bool:
    """Returns whether a value is a JSON object."""
    return isinstance(value, dict)


def is_object_or_null(value: Any) -> bool:
    """Returns whether a value is a JSON object or null."""
    return value is None or isinstance(value, dict)


def is_file_name(value: Any) -> bool:
    """Returns whether a value is a plain name on any system: no folder, no drive, not hidden."""
    return (
        is_text(value)
        and not value.startswith(".")
        and PurePosixPath(value).name == value == PureWindowsPath(value).name
    )


def check_fields(
    mapping: dict, fields: dict[str, Callable[[Any], bool]], path: Path, where: str
) -> None:
    """Checks the fields of a JSON object.

    Args:
      mapping: the object.
      fields: a check for each field that it must have.
      path: the file that it was read from.
      where: what stands before a field's name in messages, such as "inputs[0].".

    Raises:
      UserError: a field is missing, or its check fails; the message names it.
    """
    for key, is_good in fields.items():
        if key not in mapping:
            raise UserError(f"{path} lacks the field {where}{key}; convert the model again")
        if not is_good(mapping[key]):
            raise bad_field(path, where + key, mapping[key])


def bad_field(path: Path, field: str, value: Any) -> UserError:
    """Returns the error that names a field and shows its value, shortened."""
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return UserError(f"{path} has an unusable {field}: {shown}; convert the model again")
