import resource

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.cli import UserError
from trainers.checkpoints import Checkpoints


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


def test_everything_is_restored(saved, tmp_path):
    other = Run(tmp_path)
    assert other.checkpoints.restore() == 5
    for mine, theirs in zip(saved.values(), other.values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_last_two_checkpoints_are_kept(saved, tmp_path):
    saved.take(1)
    saved.checkpoints.save()
    assert sorted(p.name for p in tmp_path.glob("*.index")) == ["ckpt-5.index", "ckpt-6.index"]


def test_the_previous_one_is_kept_when_the_last_is_saved_again(saved, tmp_path):
    saved.checkpoints.save()
    resumed = Run(tmp_path)
    resumed.checkpoints.restore()
    resumed.checkpoints.save()
    assert sorted(p.name for p in tmp_path.glob("*.index")) == ["ckpt-2.index", "ckpt-5.index"]


def test_non_finite_weights_are_not_saved(saved, tmp_path):
    saved.model.weights[0].assign(np.full((4, 3), np.nan))
    saved.take(1)
    with pytest.raises(UserError, match=r"non-finite at step 6: .*--learning_rate"):
        saved.checkpoints.save()
    assert Run(tmp_path).checkpoints.restore() == 5


def test_a_new_run_leaves_another_ones_checkpoints_alone(saved, tmp_path):
    with pytest.raises(UserError, match=r"holds the checkpoints of another run; .*--resume"):
        Run(tmp_path).checkpoints.begin()
    assert Run(tmp_path).checkpoints.restore() == 5


def test_a_run_that_was_killed_at_its_start_may_start_again(tmp_path):
    Run(tmp_path).checkpoints.begin()
    Run(tmp_path).checkpoints.begin()


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no checkpoint can be found in"):
        Run(tmp_path).checkpoints.restore()


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)


INDEX, DATA = "index", "data-00000-of-00001"
DAMAGES = {
    "empty index": lambda ckpt: cut(ckpt(INDEX), 0),
    "truncated index": lambda ckpt: cut(ckpt(INDEX), 0.5),
    "missing index": lambda ckpt: ckpt(INDEX).unlink(),
    "empty data": lambda ckpt: cut(ckpt(DATA), 0),
    "truncated data": lambda ckpt: cut(ckpt(DATA), 0.5),
    "missing data": lambda ckpt: ckpt(DATA).unlink(),
    "bit flipped at the start": lambda ckpt: flip(ckpt(DATA), 0),
    "bit flipped in the middle": lambda ckpt: flip(ckpt(DATA), 0.3),
    "bit flipped in the index": lambda ckpt: flip(ckpt(INDEX), 0.3),
}
damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


@damages
def test_the_previous_checkpoint_is_used_if_the_last_is_damaged(saved, tmp_path, capsys, damage):
    before = Run(tmp_path)
    saved.checkpoints._checkpoint.read(str(tmp_path / "ckpt-2"))
    expected = saved.values()
    damage(lambda kind: tmp_path / f"ckpt-5.{kind}")
    assert before.checkpoints.restore() == 2
    for mine, theirs in zip(expected, before.values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    said = capsys.readouterr().out
    assert "ckpt-5 (" in said and "cannot be restored; using the earlier one, of step 2" in said


@damages
def test_if_all_are_damaged_all_are_named(saved, tmp_path, damage):
    for step in (2, 5):
        damage(lambda kind, step=step: tmp_path / f"ckpt-{step}.{kind}")
    with pytest.raises(UserError, match=r"no checkpoint can be restored: .*ckpt-5.*ckpt-2"):
        Run(tmp_path).checkpoints.restore()


@pytest.mark.parametrize("share", [0, 0.05, 0.5, None])
def test_a_damaged_state_file_hides_nothing(saved, tmp_path, share):
    if share is None:
        (tmp_path / "checkpoint").unlink()
    else:
        cut(tmp_path / "checkpoint", share)
    assert Run(tmp_path).checkpoints.restore() == 5


def test_tensorflows_own_tools_find_the_last_one(saved, tmp_path):
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-5")


def test_the_complete_one_stays_until_the_new_one_is_complete(saved, tmp_path):
    cut(tmp_path / f"ckpt-5.{DATA}", 0.5)
    resumed = Run(tmp_path)
    resumed.checkpoints.restore()
    resumed.take(1)
    resumed.checkpoints.save()
    assert sorted(p.name for p in tmp_path.glob("*.index")) == ["ckpt-2.index", "ckpt-3.index"]
    cut(tmp_path / f"ckpt-3.{DATA}", 0.5)
    assert Run(tmp_path).checkpoints.restore() == 2


@pytest.mark.parametrize("again", [False, True], ids=["next step", "same step"])
def test_a_full_disk_leaves_the_last_checkpoint_whole(saved, tmp_path, again):
    if not again:
        saved.take(1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk, a file is cut off after some bytes.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(UserError, match=r"cannot be written to .*; free some space"):
            saved.checkpoints.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"checkpoint", *(f"ckpt-{n}.{kind}" for n in (2, 5) for kind in (INDEX, DATA))}
    other = Run(tmp_path)
    assert other.checkpoints.restore() == 5
    saved.checkpoints.save()  # with space again


def test_incomplete_files_of_a_killed_run_are_removed(saved, tmp_path):
    (tmp_path / "ckpt-6_temp").mkdir()
    (tmp_path / "ckpt-6_temp" / "part-00000").write_bytes(b"half")
    other = Run(tmp_path)
    assert other.checkpoints.restore() == 5
    other.take(2)
    other.checkpoints.save()
    assert not (tmp_path / "ckpt-6_temp").exists()


def test_more_than_the_network_is_restored(tmp_path):
    run, more = Run(tmp_path), tf.Variable([1.0, 2.0])
    checkpoints = [
        Checkpoints(tmp_path, run.model, run.optimizer, run.best, {"average": [more]})
        for _ in range(2)
    ]
    checkpoints[0].save()
    more.assign([0.0, 0.0])
    checkpoints[1].restore()
    np.testing.assert_array_equal(more, [1.0, 2.0])
    # A run with an average cannot resume from a checkpoint without one.
    run.checkpoints.save()
    with pytest.raises(UserError, match="no checkpoint can be restored"):
        checkpoints[1].restore()


def test_another_network_is_an_error(saved, tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint can be restored: .*ckpt-5 \("):
        Run(tmp_path, units=5).checkpoints.restore()
