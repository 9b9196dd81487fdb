"""Boxes as files have them, before anything is checked: what all formats are read into."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from common.cli import UserError


class Box(NamedTuple):
    """One box of a file.

    Attributes:
      name: the class; None: a category that the file does not define.
      corners: left, top, right, bottom.
      crowd: it is around many objects.
      difficult: it need not be found.
      area: square pixels of the object's outline, if known.
    """

    name: str | None
    corners: tuple[float, float, float, float]
    crowd: bool = False
    difficult: bool = False
    area: float | None = None


@dataclass
class Annotated:
    """An image as a file describes it.

    Attributes:
      path: of the image.
      size: (width, height) in pixels, as annotated; None if the file does not say.
      relative: the corners are shares of the width and height, of the upright image.
      boxes: in the file's order.
    """

    path: str
    size: tuple[int, int] | None
    relative: bool = False
    boxes: list[Box] = field(default_factory=list)


@dataclass(frozen=True)
class Annotations:
    """What the files of one split say.

    Attributes:
      images: in the file's order.
      names: the classes in the file's order; None: those of the boxes, in the alphabet's.
      skipped: how many things could not be used, by kind.
    """

    images: list[Annotated]
    names: tuple[str, ...] | None
    skipped: Counter[str]


def check_names(names: Sequence[object], place: object) -> tuple[str, ...]:
    """Returns the names of the classes; place: the file that lists them.

    Raises:
      UserError: a name is empty or no text, or two classes have the same.
    """
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{place} has a class without a name ({name!r}); give it one")
    (name, count), *_ = [*Counter(names).most_common(1), ("", 0)]
    if count > 1:
        raise UserError(f"{place} has {count} classes called {name!r}; rename or merge them")
    return tuple(names)
