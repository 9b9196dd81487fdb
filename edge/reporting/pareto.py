"""Pareto fronts: the points that no other point beats in both cost and value."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

_Point = TypeVar("_Point")


def pareto_front(
    points: Sequence[_Point],
    cost: Callable[[_Point], float | None],
    value: Callable[[_Point], float | None],
) -> list[_Point]:
    """Returns the points that no other point beats in both cost and value, cheapest first.

    Args:
      points: points of any type.
      cost: returns a point's cost, such as its milliseconds; less is better.
      value: returns a point's value, such as its accuracy; more is better. A point with unknown
        cost or value, None or NaN, is on no front.

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
