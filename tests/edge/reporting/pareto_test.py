from operator import itemgetter

import pytest

from edge.reporting.pareto import pareto_front


def front(points):
    """Returns the names of those on the front, of (name, cost, value)."""
    return [name for name, *_ in pareto_front(points, cost=itemgetter(1), value=itemgetter(2))]


def test_the_front_has_what_no_other_beats_cheapest_first():
    points = [
        ("c", 3.0, 0.80),
        ("a", 1.0, 0.70),
        ("b", 2.0, 0.65),  # Slower and worse than a.
        ("d", 3.0, 0.75),  # As fast as c and worse.
        ("f", 4.0, 0.80),  # As good as c and slower.
    ]
    assert front(points) == ["a", "c"]


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_what_is_not_known_is_on_no_front(unknown):
    points = [("cost", unknown, 0.99), ("a", 1.0, 0.7), ("value", 0.5, unknown)]
    assert front(points) == ["a"]
    assert front([("cost", unknown, 0.99)]) == []
