import time

import numpy as np
import pytest

from edge.running import timing


class FakeModel:
    """A fake LiteRTModel that waits five milliseconds and computes nothing."""

    input_shape = (1, 2, 2, 3)

    def __init__(self, path):
        self.path = path

    def quantize_input(self, x):
        return x

    def set_input(self, x):
        """Does nothing."""

    def run(self):
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    monkeypatch.setattr(timing, "LiteRTModel", FakeModel)
    # A test must not stay on one core.
    monkeypatch.setattr(timing, "pin", lambda core: None)


def times(**changes):
    request = {"files": ["a", "b"], "rounds": 20, "invokes": 1, "core": 0, **changes}
    return np.array(timing.measure(request)["milliseconds"])


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 3), (60.0, 5)])
def test_rounds_end_early_but_not_before_the_third(seconds, rounds):
    assert times(seconds=seconds, rounds=5).shape == (2, rounds)


def test_waiting_counts_for_the_wall_clock_and_not_for_the_thread():
    assert times(rounds=3).min() >= 5
    assert times(rounds=3, clock="thread").max() < 2.5
