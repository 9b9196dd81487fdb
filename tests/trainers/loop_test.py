import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import loop
from trainers.cli import UserError
from trainers.config import TrainConfig
from trainers.datasets import load_source
from trainers.models import load_model
from trainers.recipes import make_config
from trainers.strategy import make_strategy
from trainers.task import Task

ROOT = Path(__file__).resolve().parents[2]
STEPS, STOP = 6, 4
VALUES = {
    "steps": STEPS,
    "batch_size": 16,
    "eval_split": "test[:50]",
    "eval_every": 3,
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def make_trainer(workdir, data_dir, **overrides):
    values = {**VALUES, "data_dir": data_dir, **overrides}
    workdir.mkdir(exist_ok=True)
    config = make_config("digits", str(workdir), values)
    sources = [load_source(config, split) for split in (config.train_split, config.eval_split)]
    return loop.Trainer(Task(config), tf.distribute.get_strategy(), *sources)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data_dir):
    """A run that was never stopped: its trainer and its workdir."""
    workdir = tmp_path_factory.mktemp("whole") / "work"
    trainer = make_trainer(workdir, data_dir)
    trainer.start(resume=False)
    trainer.run()
    return trainer, workdir


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, data_dir):
    """The same run, interrupted by Ctrl-C at step 4 and resumed."""
    workdir = tmp_path_factory.mktemp("stopped") / "work"
    trainer = make_trainer(workdir, data_dir)
    trainer.start(resume=False)
    step = trainer._train_step

    def interrupted(iterator):
        if trainer._step() == STOP:
            raise KeyboardInterrupt
        return step(iterator)

    trainer._train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert trainer._step() == STOP
    resumed = make_trainer(workdir, data_dir)
    resumed.start(resume=True)
    assert resumed._step() == STOP
    resumed.run()
    return resumed, workdir


def state(trainer):
    variables = trainer.model.weights + trainer.optimizer.variables
    # Keras numbers its optimizers: "sgd/…", then "sgd_1/…".
    return {v.path.partition("/")[2] or v.path: v.numpy() for v in variables}


def metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_is_bit_identical(whole, stopped):
    first, second = state(whole[0]), state(stopped[0])
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.tobytes() == second[name].tobytes(), name


def test_a_resumed_run_reports_the_same(whole, stopped):
    for mine, theirs in zip(metrics(whole[1]), metrics(stopped[1]), strict=True):
        for name in ("step", "epoch", "eval_loss", "top1", "top5", "eval_images"):
            assert mine[name] == theirs[name]


def test_evaluations_are_written_down(whole):
    records = metrics(whole[1])
    assert [record["step"] for record in records] == [3, 6]
    assert records[-1]["eval_images"] == 50
    assert np.isfinite(records[-1]["train_loss"])
    assert records[-1]["skipped_train_images"] == 0


def test_a_workdir_has_what_others_read(whole):
    workdir = whole[1]
    config = TrainConfig.load(workdir)
    assert (config.dataset, config.steps, config.input_size) == ("digits", STEPS, 32)
    assert (workdir / "labels.txt").read_text().split() == [str(digit) for digit in range(10)]
    assert {p.name for p in workdir.iterdir()} == {
        "best.keras",
        "checkpoints",
        "config.json",
        "labels.txt",
        "metrics.jsonl",
        "model.keras",
        "tensorboard",
    }


def test_the_saved_model_gives_the_trained_logits(whole):
    trainer, workdir = whole
    images = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 1)).astype(np.float32)
    model = load_model(workdir / "model.keras")
    logits = model(images)
    np.testing.assert_array_equal(logits, trainer.model(images))
    assert np.abs(np.sum(logits, axis=1) - 1).max() > 1e-3  # no probabilities
    assert model.get_layer("predictions").activation is keras.activations.linear


def test_scalars_for_tensorboard(whole):
    tags = set()
    for file in (whole[1] / "tensorboard").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags |= {value.tag for value in event.summary.value}
    assert tags >= {"train/loss", "train/learning_rate", "eval/top1", "eval/top5", "eval/loss"}


def test_what_was_evaluated_behind_the_checkpoint_is_forgotten(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"st')
    assert loop._keep_metrics_until(5, path) == 4
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n'
    assert loop._keep_metrics_until(1, path) == -1


def test_a_finished_run_has_nothing_left_to_do(stopped, data_dir):
    workdir = stopped[1]
    before = metrics(workdir)
    again = make_trainer(workdir, data_dir)
    again.start(resume=True)
    again.run()
    assert metrics(workdir) == before
    assert again._step() == STEPS


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, data_dir):
    trainer = make_trainer(tmp_path / "work", data_dir, eval_every=100, checkpoint_every=100)
    trainer.start(resume=False)
    trainer._train_step = lambda unused_iterator: tf.constant(float("nan"))
    with pytest.raises(UserError, match=r"not finite at step 6: .*--learning_rate"):
        trainer.run()
    assert not (tmp_path / "work" / "model.keras").exists()


def test_weights_that_are_no_numbers_stop_the_run(tmp_path, data_dir):
    trainer = make_trainer(tmp_path / "work", data_dir, eval_every=1)
    trainer.start(resume=False)

    def diverge(unused_iterator):
        trainer.model.weights[0].assign(np.full(trainer.model.weights[0].shape, np.inf))
        return tf.constant(1.0)

    trainer._train_step = diverge
    with pytest.raises(UserError, match=r"not finite at step"):
        trainer.run()
    assert not (tmp_path / "work" / "best.keras").exists()
    trainer._checkpoints.restore()
    trainer._checkpoints.check_weights()


def test_the_seed_decides_the_weights_even_while_data_is_prepared(tmp_path):
    prepared = make_trainer(tmp_path / "work", str(tmp_path / "new"))
    again = make_trainer(tmp_path / "more", str(tmp_path / "new"))
    other = make_trainer(tmp_path / "other", str(tmp_path / "new"), seed=1)
    kernels = [t.model.trainable_variables[0].numpy() for t in (prepared, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0.01


@pytest.mark.parametrize("every", [1, 3, 22.453125, 2.5])
def test_due_steps_are_the_nearest_to_the_multiples(every):
    due = [step for step in range(1, 100) if loop.is_due(step, every)]
    expected = sorted({round(k * every) for k in range(1, 110)} & set(range(1, 100)))
    assert due == expected


def schedule_of(**overrides):
    config = make_config("digits", "w", overrides)
    return loop.learning_rate(config, total_steps=100, steps_per_epoch=10.0)


def test_the_schedule_warms_up_linearly_then_follows_a_cosine_to_zero():
    schedule = schedule_of(learning_rate=0.8, warmup_epochs=2)
    rates = np.array([float(schedule(step)) for step in range(101)])
    np.testing.assert_allclose(rates[:21], 0.8 * np.arange(21) / 20, atol=1e-6)
    cosine = 0.4 * (1 + np.cos(np.pi * np.arange(81) / 80))
    np.testing.assert_allclose(rates[20:], cosine, atol=1e-6)


def test_the_schedule_without_warm_up_begins_at_the_peak():
    schedule = schedule_of(learning_rate=0.8, warmup_epochs=0)
    assert float(schedule(0)) == pytest.approx(0.8)
    assert float(schedule(50)) == pytest.approx(0.4)


def test_only_kernels_decay(whole):
    trainer, _ = whole
    variables = trainer.model.trainable_variables
    gradients = [tf.zeros(v.shape) for v in variables]
    decayed = loop.add_weight_decay(gradients, variables, 0.5)
    for variable, gradient in zip(variables, decayed, strict=True):
        is_kernel = variable.name == "kernel"
        expected = 0.5 * variable.numpy() if is_kernel else np.zeros(variable.shape)
        np.testing.assert_array_equal(gradient, expected, variable.path)


def test_colour_statistics_need_colour(tmp_path, data_dir):
    config = make_config("digits", str(tmp_path), {"data_dir": data_dir, "preprocessing": "torch"})
    with pytest.raises(UserError, match=r"--preprocessing=torch is for colour images.*1 channel"):
        loop.train(config)


def test_a_scale_that_the_papers_lack_is_refused(tmp_path, data_dir):
    config = make_config("digits", str(tmp_path), {"data_dir": data_dir, "scale": 3.0})
    with pytest.raises(UserError, match=r"shufflenet_v2 cannot be built: .*scale.*3\.0"):
        loop.train(config)


MIRRORED = """
import dataclasses, sys
import keras
from trainers import loop, pipeline, strategy
from trainers.config import TrainConfig
from trainers.datasets import load_source
from trainers.task import Task

config = TrainConfig.load(sys.argv[1])
two = strategy.make_strategy(config)
one = strategy.make_strategy(dataclasses.replace(config, strategy="one"))
sources = [load_source(config, split) for split in (config.train_split, config.eval_split)]

# A whole run: all devices hold the same values, moving statistics too.
trainer = loop.Trainer(Task(config), two, *sources)
trainer.start(resume=False)
trainer.run()
for variable in trainer.model.weights + trainer.optimizer.variables:
    first, second = two.experimental_local_results(variable.value)
    assert (first.numpy() == second.numpy()).all(), variable.path
    assert first.device != second.device

# Two devices against one. In double precision, because a ReLU at a rounding error from 0 would
# hide an error of the loop.
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
weights = []
for where in (two, one):
    trainer = loop.Trainer(Task(config), where, *sources)
    batches = where.experimental_distribute_dataset(
        pipeline.training_batches(config, sources[0], 0)
    )
    iterator = iter(batches)
    start = trainer.model.trainable_variables[0].numpy()
    for _ in range(2):
        trainer._train_step(iterator)
    assert abs(trainer.model.trainable_variables[0].numpy() - start).max() > 1e-3
    weights.append([weight.numpy() for weight in trainer.model.weights])
difference = max(abs(first - second).max() for first, second in zip(*weights))
assert difference < 1e-9, difference
"""


def test_two_devices_train_as_one(tmp_path, data_dir):
    workdir = tmp_path / "work"
    workdir.mkdir()
    values = {**VALUES, "data_dir": data_dir, "strategy": "mirrored", "devices": 2}
    make_config("digits", str(workdir), {**values, "warmup_epochs": 0}).save(workdir)
    # Apart, because a process can divide its CPU only before it uses it.
    command = [sys.executable, "-c", MIRRORED, str(workdir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [record["eval_images"] for record in metrics(workdir)] == [50, 50]
    layers = load_model(workdir / "model.keras")._flatten_layers()
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) > 50 and not any(layer.synchronized for layer in norms)


def test_a_batch_that_devices_cannot_share_is_refused():
    config = make_config("digits", "w", {"strategy": "mirrored", "devices": 3, "batch_size": 64})
    with pytest.raises(UserError, match=r"--batch_size 64 cannot be shared by --devices 3"):
        make_strategy(config)
