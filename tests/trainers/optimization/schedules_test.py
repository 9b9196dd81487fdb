import numpy as np
import pytest

from trainers.optimization.schedules import LinearDecay, learning_rate
from trainers.recipes import make_config


def rates_of(**overrides):
    config = make_config("digits", "w", {"learning_rate": 0.8, **overrides}).optimization
    schedule = learning_rate(config, total_steps=100, steps_per_epoch=10.0)
    return np.array([float(schedule(step)) for step in range(101)])


def test_the_schedule_warms_up_linearly_then_follows_a_cosine_to_zero():
    rates = rates_of(warmup_epochs=2)
    np.testing.assert_allclose(rates[:21], 0.8 * np.arange(21) / 20, atol=1e-6)
    cosine = 0.4 * (1 + np.cos(np.pi * np.arange(81) / 80))
    np.testing.assert_allclose(rates[20:], cosine, atol=1e-6)


def test_the_schedule_without_warm_up_starts_at_the_peak():
    rates = rates_of(warmup_epochs=0)
    assert rates[0] == pytest.approx(0.8)
    assert rates[50] == pytest.approx(0.4)


def test_the_linear_schedule_is_the_papers_line():
    rates = rates_of(warmup_epochs=0, schedule="linear")
    np.testing.assert_allclose(rates, 0.8 * (1 - np.arange(101) / 100), atol=1e-6)


def test_the_linear_schedule_warms_up_too():
    rates = rates_of(warmup_epochs=2, schedule="linear")
    np.testing.assert_allclose(rates[:21], 0.8 * np.arange(21) / 20, atol=1e-6)
    np.testing.assert_allclose(rates[20:], 0.8 * (1 - np.arange(81) / 80), atol=1e-6)


def test_after_the_end_the_line_stays_at_zero():
    assert float(LinearDecay(0.5, 10)(12)) == 0.0


def test_a_warm_up_longer_than_the_run_ends_before_its_last_step():
    config = make_config("digits", "w", {"warmup_epochs": 50, "schedule": "linear"}).optimization
    schedule = learning_rate(config, total_steps=10, steps_per_epoch=10.0)
    assert float(schedule(9)) == pytest.approx(config.learning_rate)
    assert float(schedule(10)) == 0.0


def test_a_schedule_survives_its_configuration():
    schedule = LinearDecay(0.5, 10, 2)
    again = LinearDecay.from_config(schedule.get_config())
    assert [float(again(s)) for s in range(11)] == [float(schedule(s)) for s in range(11)]
