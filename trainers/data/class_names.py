"""The names of a data set's classes: they are its identity, so names are compared, not counted."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from common import files
from common.cli import UserError
from common.storage.readers import read_lines
from trainers.settings import FOLDER, DataConfig

LABELS_FILE = "labels.txt"
# A message names at most this many classes of each kind.
_MAX_NAMED = 5
_FEW_CLASSES = 10
# And this many characters of a name.
_MAX_SHOWN = 80
# Line ends and other control characters, and surrogates, which UTF-8 cannot write.
_NOT_IN_A_LINE = {"Cc", "Cs", "Zl", "Zp"}


def write_labels(workdir: str | Path, names: Sequence[str]) -> None:
    """Writes class names to `workdir/labels.txt`, one a line."""
    files.write_text(Path(workdir) / LABELS_FILE, "".join(f"{name}\n" for name in names))


def read_labels(workdir: str | Path) -> tuple[str, ...]:
    """Returns the class names in `workdir/labels.txt`, in the order of the logits.

    Raises:
      UserError: the file is missing, or is not UTF-8 text.
    """
    path = Path(workdir) / LABELS_FILE
    remedy = "restore it, or finish the training first (shufflenet train)"
    try:
        return tuple(read_lines(path, remedy))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is missing; {remedy}") from None


def known_labels(model: str | Path) -> tuple[str, ...] | None:
    """Returns the class names of a workdir, or of a model's file in one; None if there are none."""
    folder = Path(model) if Path(model).is_dir() else Path(model).parent
    return read_labels(folder) if (folder / LABELS_FILE).is_file() else None


def shows_top5(classes: int) -> bool:
    """Returns whether a top-5 is worth showing: with at most ten classes, it says little."""
    return classes > _FEW_CLASSES


def is_line(name: str) -> bool:
    """Returns whether a class name can be a line of labels.txt.

    Examples:
      >>> is_line("a cat"), is_line("a\\ncat")
      (True, False)
    """
    return not any(unicodedata.category(character) in _NOT_IN_A_LINE for character in name)


def short(name: str) -> str:
    """Returns a class name as messages show it: the beginning of a very long one."""
    return name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}…"


def check_usable(names: Sequence[str], config: DataConfig) -> None:
    """Checks class names before a training, because it would fail at its end.

    Raises:
      UserError: there is only one class, or a name cannot be a line of labels.txt.
    """
    if len(names) < 2:
        raise UserError(
            f"{describe(config)} has one class only ({', '.join(map(repr, names))}); a classifier "
            "needs two: add a class of other images, or, if there are boxes, train a detector "
            "(--recipe=detection)"
        )
    check_lines(names, describe(config))


def check_lines(names: Sequence[str], place: object) -> None:
    """Checks that each class name can be a line of labels.txt.

    Args:
      names: the class names.
      place: where they come from, for the message.

    Raises:
      UserError: one has a line end, a control character, or bytes that are not UTF-8.
    """
    for name in names:
        if not is_line(name):
            raise UserError(
                f"class {short(name)!a} of {place} has a line end, a control character or bytes "
                "that are not UTF-8 in its name; rename it"
            )


def check_same(found: Sequence[str], known: Sequence[str], config: DataConfig, place: Path) -> None:
    """Checks that a data set has the classes that a model was trained on, in their order.

    Args:
      found: the data's class names.
      known: the model's.
      config: the data's settings, for the message.
      place: where `known` comes from, for the message.

    Raises:
      UserError: they differ; the message names how.

    Examples:
      >>> check_same(source.class_names, read_labels(work), config.data, work / LABELS_FILE)
    """
    if tuple(found) != tuple(known):
        raise UserError(
            f"{describe(config)} has other classes than {place}: {difference(found, known)}; "
            "restore the names, or name the data of the training with --data_dir"
        )


def difference(found: Sequence[str], known: Sequence[str]) -> str:
    """Returns in words how two lists of names differ.

    Examples:
      >>> difference(["dog", "zebra"], ["cat", "dog"])
      "'cat' is missing, 'zebra' is new"
    """
    missing = [name for name in known if name not in set(found)]
    new = [name for name in found if name not in set(known)]
    if missing or new:
        parts = {"missing": missing, "new": new}
        return ", ".join(_named(names, what) for what, names in parts.items() if names)
    place = next((n for n, (a, b) in enumerate(zip(found, known, strict=False)) if a != b), None)
    if place is None:
        return f"{len(found)} names instead of {len(known)}"
    return f"another order: number {place + 1} is {found[place]!r}, not {known[place]!r}"


def _named(names: Sequence[str], what: str) -> str:
    shown = ", ".join(repr(name) for name in names[:_MAX_NAMED])
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"{shown}{more} {'is' if len(names) == 1 else 'are'} {what}"


def describe(config: DataConfig) -> str:
    """Returns the data set's name for a message, with its folder if it is one of images."""
    return f"image folder {config.data_dir}" if config.dataset == FOLDER else config.dataset
