"""Several processes that train together; `launch_test` tests whole runs."""

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.cli import UserError
from trainers.distribution.cluster import ALONE, Cluster
from trainers.distribution.interrupts import Interrupts
from trainers.distribution.local_cluster import LocalCluster
from trainers.distribution.workers import Workers, lost_workers_reported, own_folder
from trainers.recipes import make_config

pytestmark = pytest.mark.medium

ROOT = Path(__file__).resolve().parents[3]
SECOND = Cluster(size=2, index=1)
# Two workers, and then the same run with one, only in the chief. In double precision, because a
# ReLU whose input is a rounding error away from 0 would hide an error of the loop.
WORKER = """
import sys
sys.path.insert(0, sys.argv[2])
import keras, numpy as np, tensorflow as tf
import keras_shufflenet
from benchmarks.training.traffic import traffic
from common.cli import UserError
from trainers import loop
from trainers.config import TrainConfig
from trainers.data.datasets import load_source
from trainers.distribution.cluster import find_cluster
from trainers.distribution.strategy import make_strategy
from trainers.distribution.workers import Workers, own_folder
from trainers.task import Task

def small_network(input_shape, classes, **unused):
    x = inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras_shufflenet.ShuffleUnitV2(16)(keras_shufflenet.ShuffleUnitV2(16, stride=2)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x))

keras_shufflenet.ShuffleNetV2 = small_network
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
folder = sys.argv[1]
config = TrainConfig.load(folder + "/two")
data, seed = config.data, config.optimization.seed
cluster = find_cluster(config.placement)
strategy = make_strategy(config.placement, config.optimization.batch_size, 1, cluster)
workers = Workers(cluster, strategy)

# Every kind of number arrives bit-identical, even -0.0.
chiefs = [np.array([-0.0, np.pi, np.nan]), np.int64(2**62 + 1), np.arange(5, dtype="uint8")]
received = workers.broadcast(chiefs if cluster.is_chief else [np.zeros_like(a) for a in chiefs])
assert all(a.tobytes() == b.tobytes() for a, b in zip(received, chiefs)), received
assert workers.add(np.array([1, cluster.index])).tolist() == [2, 1]
try:
    workers.check_same({"seeds": 7, "numbers of images": cluster.index})
except UserError as error:
    assert f"different numbers of images (here {cluster.index})" in str(error), error
else:
    raise AssertionError("nothing was found different")

def weights(trainer):
    variables = [*trainer.model.weights, *trainer.optimizer.variables, *trainer._average.shadows]
    return [variable.numpy() for variable in variables]

# Two processes that prepare the same data at the same time would disturb each other.
with workers.chief_first():
    sources = [load_source(data, split) for split in (data.train_split, data.eval_split)]
with own_folder(config.workdir, cluster) as workdir:
    # Only the chief's initial weights are used: the others get them.
    own = config.replace(workdir=workdir, seed=seed + cluster.index)
    trainer = loop.Trainer(Task(own), strategy, *sources, workers)
    trainer._config = own.replace(seed=seed)
    trainer.start(resume=False)
    trainer.run()
together = weights(trainer)
np.savez(f"{folder}/{cluster.index}.npz", *together)
if cluster.is_chief:
    iterator = iter(trainer._training_batches(0))
    operations = trainer._train_step.get_concrete_function(iterator).graph.get_operations()
    reduced = [o.inputs[0] for o in operations if o.type.startswith("CollectiveReduce")]
    reduced = [tensor.dtype.size * tensor.shape.num_elements() for tensor in reduced]
    config = config.replace(workdir=folder + "/one")
    alone = loop.Trainer(Task(config), tf.distribute.get_strategy(), *sources)
    start = weights(alone)
    alone.start(resume=False)
    alone.run()
    difference = max(abs(a - b).max() for a, b in zip(together, weights(alone)))
    assert difference < 1e-9, difference
    assert max(abs(a - b).max() for a, b in zip(start, together)) > 1e-3
    counted = traffic(alone.model)
    # The loss is reduced too.
    assert sum(reduced) == counted.gradients + counted.statistics + 8, (reduced, counted)
    assert len(reduced) == counted.reductions + 2, (reduced, counted)
"""


@pytest.mark.slow
def test_two_workers_train_as_one(tmp_path, capfd):
    values = {
        "strategy": "multiworker",
        "data_dir": str(tmp_path),
        "steps": 3,
        "batch_size": 16,
        "warmup_epochs": 0,
        "ema_decay": 0.5,
        "batch_norm_steps": 1,
        # 50 images: from the last batch one worker gets 2 images and 6 zeros, the other 8 zeros.
        "eval_split": "test[:50]",
        "eval_every": 100,
    }
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    make_config("digits", str(tmp_path / "two"), values).save(tmp_path / "two")
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(ROOT)]
    with LocalCluster(command, 2) as cluster:
        code = cluster.wait()
    output = capfd.readouterr()
    assert code == 0, output
    first, second = (np.load(tmp_path / f"{index}.npz") for index in range(2))
    for name in first:
        assert first[name].tobytes() == second[name].tobytes()
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert [record["eval_images"] for record in two] == [50]
    for mine, theirs in zip(one, two, strict=True):
        assert (mine["step"], mine["top1"], mine["top5"]) == (
            theirs["step"],
            theirs["top1"],
            theirs["top5"],
        )
        assert mine["eval_loss"] == pytest.approx(theirs["eval_loss"], rel=1e-6)
    # Only the chief writes and prints.
    assert "[worker 0] step 3:" in output.out and "[worker 1]" not in output.out


def test_a_single_worker_agrees_with_itself():
    alone = Workers(ALONE, tf.distribute.get_strategy())
    values = np.array([1.5, 2.0**40])
    assert alone.is_chief and alone.add(values) is values
    assert alone.broadcast([values])[0] is values
    alone.check_same({"seeds": 7})
    with alone.chief_first():
        alone.wait()


class TwoWorkers(Workers):
    """A fake without a second process: the other worker's values are in `theirs`."""

    def __init__(self, theirs):
        super().__init__(SECOND, tf.distribute.get_strategy())
        self.theirs = theirs

    @property
    def _add(self):
        return lambda values: values + self.theirs.pop(0)


def test_an_interruption_of_another_worker_counts_one_check_later():
    workers = TwoWorkers([0.0, 1.0, 0.0])
    with Interrupts() as interrupts, pytest.raises(SystemExit) as caught:
        for left in (2, 1, 0):
            workers.check(interrupts)
            assert len(workers.theirs) == left > 0
    assert caught.value.code == 75


def test_a_workers_own_interruption_waits_until_all_know_of_it():
    workers = TwoWorkers([0.0] * 9)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
            for step in range(9):
                if step == 4:
                    signal.raise_signal(signal.SIGINT)
                workers.check(interrupts)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert step == 5


def test_a_lost_worker_is_reported_in_one_line_and_the_run_can_continue(capsys):
    error = tf.errors.UnavailableError(None, None, "heartbeat\nlots of details")
    with (
        pytest.raises(SystemExit) as caught,
        lost_workers_reported(SECOND, "with --workdir=w --resume"),
    ):
        raise error
    assert caught.value.code == 75
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "another of the 2 workers was lost" in said
    assert "(UnavailableError: heartbeat); to continue" in said
    assert "with --workdir=w --resume" in said
    with pytest.raises(tf.errors.UnavailableError), lost_workers_reported(ALONE, ""):
        raise error
    with pytest.raises(tf.errors.ResourceExhaustedError), lost_workers_reported(SECOND, ""):
        raise tf.errors.ResourceExhaustedError(None, None, "no memory")


def test_only_the_chief_has_the_workdir_and_prints(tmp_path, capsys):
    workdir = str(tmp_path / "work")
    with own_folder(workdir, SECOND) as own:
        print("dropped")
        folder = Path(own)
        assert folder.is_dir() and own != workdir
        # It does not wait for a lock.
        with own_folder(workdir, ALONE) as chiefs, pytest.raises(UserError, match="in use by"):
            assert chiefs is workdir
            with own_folder(workdir, ALONE):
                pass
    assert not folder.exists() and capsys.readouterr().out == ""
