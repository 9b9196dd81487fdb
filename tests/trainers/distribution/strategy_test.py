import keras
import numpy as np
import pytest
import tensorflow as tf

from common.cli import UserError
from trainers.distribution.cluster import Cluster
from trainers.distribution.strategy import (
    make_strategy,
    moments_over_devices,
    trains_on_cpus,
)
from trainers.settings import PlacementConfig


@pytest.mark.parametrize(
    ("values", "cluster", "pattern"),
    [
        (
            (PlacementConfig(strategy="mirrored", devices=3), 64, 1),
            Cluster(),
            r"--batch_size 64 cannot be divided between 3 devices; use a multiple",
        ),
        (
            (PlacementConfig(), 48, 16),
            Cluster(size=2),
            r"--repeated_augmentation 16 does not divide a worker's share of --batch_size, 24",
        ),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(values, cluster, pattern):
    with pytest.raises(UserError, match=pattern):
        make_strategy(*values, cluster)


def test_a_missing_tpu_is_reported():
    with pytest.raises(UserError, match=r"--tpu=local was not found \(NotFoundError: .*name the"):
        make_strategy(PlacementConfig(strategy="tpu"), 64)


def test_moments_are_those_of_keras():
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(3, 2, (8, 5, 5, 7)), tf.float32)
    expected = keras.ops.moments(x, [0, 1, 2], synchronized=True)
    for mine, theirs in zip(moments_over_devices(x), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


@pytest.mark.parametrize(("kind", "cpus"), [("GPU", False), ("TPU", False), (None, True)])
def test_other_devices_than_cpus_are_found(monkeypatch, kind, cpus):
    # A fake device list: no GPU and no TPU was available.
    fake = {kind: [tf.config.LogicalDevice(f"/device:{kind}:0", kind)]}
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda wanted: fake.get(wanted, []))
    assert trains_on_cpus() == cpus
