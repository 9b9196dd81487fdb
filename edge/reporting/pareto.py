"""Pareto fronts: what no other beats in both cost and value."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

_Point = TypeVar("_Point")


def pareto_front(
    points: Sequence[_Point],
    cost: Callable[[_Point], float | None],
    value: Callable[[_Point], float | None],
) -> list[_Point]:
    """Returns the points that no other beats in both cost and value, cheapest first.

    Args:
      points: of any kind.
      cost: of a point, such as its milliseconds; the less the better.
      value: of a point, such as its accuracy; the more the better. A point whose cost or value is
        not known, None or NaN, is on no front.

    Examples:
      >>> from operator import itemgetter
      >>> pareto_front([(1, 70), (2, 65), (3, 80)], cost=itemgetter(0), value=itemgetter(1))
      [(1, 70), (3, 80)]
    """
    known = [point for point in points if _is_known(cost(point)) and _is_known(value(point))]
    front: list[_Point] = []
    for point in sorted(known, key=lambda point: (cost(point), -value(point))):
        if not front or value(point) > value(front[-1]):
            front.append(point)
    return front


def _is_known(number: float | None) -> bool:
    return number is not None and not math.isnan(number)
