import pytest

from benchmarks.training.steps import speed_table, summary


def test_speed_is_images_a_second_and_ratios_are_of_the_same_round():
    # A slow second round, slower by half for all.
    times = {"PyTorch": [200.0, 300.0], "Keras": [150.0, 225.0], "ours": [100.0, 150.0]}
    row = summary(times, batch_size=64)
    assert row["images_per_second"]["ours"]["p90"] == pytest.approx(640, rel=0.05)
    assert row["faster_than"]["PyTorch"] == {"median": 2.0, "p10": 2.0, "p90": 2.0}
    assert row["faster_than"]["Keras"]["median"] == 1.5
    *_, line = speed_table([{"setting": "v2-1x-32px", "threads": 1, **row}]).splitlines()
    assert line.startswith("| v2-1x-32px | 1 | 267 (") and "| **2.00x** (2.00-2.00) |" in line
