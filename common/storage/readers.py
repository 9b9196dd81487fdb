"""Reads text, JSON and JSON Lines that anyone may have written: with limits, and with one error.

Nothing here waits for a pipe, fills the memory, or lets a value through that cannot be printed or
written again.
"""

import codecs
import json
import os
import stat
from typing import Any, NamedTuple

from common.cli import UserError

# Far above any real file of this project's.
MAX_BYTES = 64 * 2**20
_MAX_DEPTH = 64
_MAX_VALUES = 5_000_000
# What fits in 64 bits; larger ones do not become floats, arrays or database fields.
_MAX_INTEGER = 2**63


class DamagedError(UserError):
    """A file whose content cannot be used; `reason` says why, without the file's name."""

    def __init__(self, path: str | os.PathLike, reason: str, remedy: str):
        self.reason = reason
        super().__init__(f"{path} cannot be read ({reason}); {remedy}")


def read_bytes(path: str | os.PathLike, remedy: str, limit: int = MAX_BYTES) -> bytes:
    """Returns the content of a file.

    Args:
      path: of a plain file.
      remedy: what the user can do, for the message.
      limit: the largest number of bytes.

    Raises:
      DamagedError: it is no plain file, or too large.
      OSError: it does not exist, or may not be read.
    """
    # Otherwise opening a pipe would wait for its other end.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError(path, "it is not a plain file", remedy)
        if status.st_size > limit:
            reason = f"it is too large: {status.st_size:,} bytes, at most {limit:,}"
            raise DamagedError(path, reason, remedy)
        return file.read(limit)


def read_text(path: str | os.PathLike, remedy: str, limit: int = MAX_BYTES) -> str:
    """Returns the content of a UTF-8 file, with "\\n" at the ends of lines; as `read_bytes`."""
    try:
        # Editors on Windows put a byte order mark before the text.
        text = read_bytes(path, remedy, limit).removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 text, byte {error.start} is not"
        raise DamagedError(path, reason, remedy) from error
    return text.replace("\r\n", "\n")


def read_lines(path: str | os.PathLike, remedy: str, limit: int = MAX_BYTES) -> list[str]:
    """Returns the lines of a UTF-8 file; as `read_bytes`."""
    lines = read_text(path, remedy, limit).split("\n")
    return lines if lines[-1] else lines[:-1]


def read_json(
    path: str | os.PathLike, remedy: str, limit: int = MAX_BYTES, most: int | None = None
) -> Any:
    """Returns the value in a JSON file, which follows the rules of `parse_json`; as `read_bytes`.

    Args:
      path, remedy, limit: as in `read_bytes`.
      most: the largest number of values; None: 5 million.

    Examples:
      >>> read_json("work/config.json", "train again")["config"]["scale"]
      0.5
    """
    try:
        return parse_json(read_text(path, remedy, limit), most)
    except ValueError as error:
        raise DamagedError(path, f"it is not valid JSON: {error}", remedy) from error


class Records(NamedTuple):
    """The content of a JSON Lines file.

    Attributes:
      found: the objects with their line numbers.
      bad: the numbers of the lines that hold none.
      incomplete: whether the last line is one of them, as after a killed run.
    """

    found: list[tuple[int, dict]]
    bad: list[int]
    incomplete: bool


def read_records(path: str | os.PathLike, remedy: str, limit: int = 16 * MAX_BYTES) -> Records:
    """Reads a JSON Lines file, one object a line; a bad line costs nothing but itself."""
    records, bad = [], []
    lines = read_bytes(path, remedy, limit).split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append((number, record))
        else:
            bad.append(number)
    return Records(records, bad, incomplete=len(lines) in bad)


def parse_json(text: str | bytes, most: int | None = None) -> Any:
    """Returns the value of a JSON text.

    Raises:
      ValueError: it is not JSON, or nested too deeply, or has too many values, an integer of more
        than 64 bits, or text that is not Unicode.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check(value, _MAX_VALUES if most is None else most)
    return value


def _check(value: Any, most: int) -> None:
    level, seen = [value], 0
    for _ in range(_MAX_DEPTH):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one.keys()
                below += one.values()
            elif isinstance(one, list):
                below += one
            elif isinstance(one, str):
                _check_text(one)
            elif type(one) is int and not -_MAX_INTEGER <= one < _MAX_INTEGER:
                raise ValueError("it has an integer of more than 64 bits")
        seen += len(below)
        if seen > most:
            raise ValueError(f"it has more than {most:,} values")
        if not below:
            return
        level = below
    raise ValueError("it is nested too deeply")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half of a pair of UTF-16, as in "\ud800": it can be neither printed nor written.
        raise ValueError("it has text that is not Unicode") from None
