import keras
import pytest

import keras_shufflenet
from benchmarks.training.steps import speed_table, summary
from benchmarks.training.traffic import Traffic, images_per_second, traffic
from trainers.distribution.strategy import batch_norms


def test_all_reduce_volume_of_a_network():
    """Real workers are checked in `tests/trainers/distribution/workers_test.py`."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(16, 3, use_bias=False)(inputs)
    x = keras_shufflenet.ShuffleUnitV2(32, stride=2)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x)
    counted = traffic(model)
    weights = sum(variable.value.shape.num_elements() for variable in model.trainable_variables)
    assert counted.gradients == 4 * weights
    # For each product the sums of its inputs and of their squares, and their gradients: three 1x1
    # convolutions, and a 3x3 one with 27 numbers per window, without gradients of the image.
    assert len(batch_norms(model)) == 6 and counted.reductions == 1 + 3 * 2
    assert counted.statistics == 4 * (28 * 27 + 3 * 2 * 17 * 16)


def test_all_reduce_volume_of_a_wide_network():
    inputs = keras.Input((32, 32, 128))
    x = keras_shufflenet.ShuffleUnitV2(256, stride=2)(inputs)
    counted = traffic(keras.Model(inputs, x))
    # For each BatchNormalization two sums per channel, and their gradients.
    assert counted.reductions == 2 * 5
    assert counted.statistics == 4 * 2 * 2 * 5 * 128


def test_a_ring_sends_everything_twice_except_one_share():
    counted = Traffic(gradients=6_000_000, statistics=2_000_000, reductions=1)
    assert counted.bytes_sent(2) == 8e6
    assert counted.bytes_sent(8) == 14e6
    # 8 MB are 64 Mb: 15.625 steps per second at 1 Gb/s.
    assert images_per_second(counted, 2, 64, 1) == pytest.approx(1000)
    assert images_per_second(counted, 2, 64, 10) == pytest.approx(10_000)


def test_speed_is_images_per_second_and_ratios_are_of_the_same_round():
    # The second round is slower by half for all.
    times = {"PyTorch": [200.0, 300.0], "Keras": [150.0, 225.0], "ours": [100.0, 150.0]}
    row = summary(times, batch_size=64)
    assert row["images_per_second"]["ours"]["p90"] == pytest.approx(640, rel=0.05)
    assert row["faster_than"]["PyTorch"] == {"median": 2.0, "p10": 2.0, "p90": 2.0}
    assert row["faster_than"]["Keras"]["median"] == 1.5
    *_, line = speed_table([{"setting": "v2-1x-32px", "threads": 1, **row}]).splitlines()
    assert line.startswith("| v2-1x-32px | 1 | 267 (") and "| **2.00x** (2.00-2.00) |" in line
