import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers.checkpoints import Checkpoints
from trainers.cli import UserError


class Run:
    """A run of a tiny network."""

    def __init__(self, folder, units=3):
        self.model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
        self.optimizer = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
        self.optimizer.build(self.model.trainable_variables)
        self.best = tf.Variable(-1.0, trainable=False)
        self.checkpoints = Checkpoints(folder, self.model, self.optimizer, self.best)

    def take(self, steps):
        for _ in range(steps):
            gradients = [tf.ones(v.shape) for v in self.model.trainable_variables]
            self.optimizer.apply(gradients, self.model.trainable_variables)

    def values(self):
        weights = self.model.weights + self.optimizer.variables
        return [v.numpy() for v in weights] + [self.best.numpy()]


@pytest.fixture
def saved(tmp_path):
    run = Run(tmp_path)
    run.take(2)
    run.checkpoints.save()
    run.take(3)
    run.best.assign(0.75)
    run.checkpoints.save()
    return run


def test_everything_comes_back(saved, tmp_path):
    other = Run(tmp_path)
    assert other.checkpoints.restore() == 5
    for mine, theirs in zip(saved.values(), other.values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_last_and_the_one_before_are_kept(saved, tmp_path):
    saved.take(1)
    saved.checkpoints.save()
    assert sorted(p.name for p in tmp_path.glob("*.index")) == ["ckpt-5.index", "ckpt-6.index"]


def test_weights_that_are_no_numbers_are_not_kept(saved, tmp_path):
    saved.model.weights[0].assign(np.full((4, 3), np.nan))
    saved.take(1)
    with pytest.raises(UserError, match=r"not finite at step 6: .*--learning_rate"):
        saved.checkpoints.save()
    assert Run(tmp_path).checkpoints.restore() == 5


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no checkpoint can be found in"):
        Run(tmp_path).checkpoints.restore()


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize("share", [0, 0.05, 0.2])
def test_a_truncated_state_file_is_an_error(saved, tmp_path, share):
    cut(tmp_path / "checkpoint", share)
    with pytest.raises(UserError, match="no checkpoint can be found in"):
        Run(tmp_path).checkpoints.restore()


@pytest.mark.parametrize("name", ["ckpt-5.index", "ckpt-5.data-00000-of-00001"])
@pytest.mark.parametrize("share", [0, 0.5, None])
def test_a_damaged_checkpoint_is_an_error(saved, tmp_path, name, share):
    if share is None:
        (tmp_path / name).unlink()
    else:
        cut(tmp_path / name, share)
    with pytest.raises(UserError, match=r"ckpt-5 cannot be restored|no checkpoint can be found"):
        Run(tmp_path).checkpoints.restore()


def test_a_flipped_bit_is_an_error(saved, tmp_path):
    path = tmp_path / "ckpt-5.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="ckpt-5 cannot be restored"):
        Run(tmp_path).checkpoints.restore()


def test_another_network_is_an_error(saved, tmp_path):
    with pytest.raises(UserError, match="ckpt-5 cannot be restored"):
        Run(tmp_path, units=5).checkpoints.restore()
