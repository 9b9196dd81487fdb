import numpy as np
import pytest

from experiments.measuring.spread import Spread


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.20, 1.22, 1.25], True),
        # One pass that was disturbed.
        ([0.79, 1.27, 1.27, 1.29, 1.30], True),
        ([1.06, 1.06, 1.07, 1.09, 1.10], None),
        ([1.04, 1.20], None),
        ([1.00, 1.01, 1.02], False),
        ([0.94, 0.97, 0.99, 1.00, 1.20], False),
        ([0.95, 1.01, 1.04, 1.06], None),
    ],
)
def test_more_than_five_percent(values, expected):
    assert Spread.of(np.array(values)).exceeds(1.05) is expected


def test_text_and_json():
    spread = Spread.of(np.array([1.0, 3.0, 1.5]))
    assert spread.text(1, "x") == "1.5x (1.0-3.0)"
    assert spread.as_json() == {"median": 1.5, "low": 1.0, "high": 3.0}


def test_what_was_not_measured():
    spread = Spread.of(np.array([1.0, np.nan]))
    assert spread.text() == "-" and spread.exceeds(1.0) is None
    assert spread.as_json() == {"median": None, "low": None, "high": None}
