import dataclasses
import functools
import json
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import keras_shufflenet
from common.cli import UserError
from trainers import loop
from trainers.config import TrainConfig
from trainers.data import pipeline
from trainers.data.datasets import load_source
from trainers.distribution.lock import locked
from trainers.distribution.strategy import batch_norms
from trainers.networks.models import build_model, load_model
from trainers.networks.whitening import whiten_stem
from trainers.optimization.averaging import BatchNormStatistics
from trainers.recipes import make_config
from trainers.task import Task

pytestmark = pytest.mark.medium

STEPS, STOP = 6, 4
EPOCH = 1437 / 16  # steps
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


# One unit per stage: enough to test the loop, and fast to build.
SMALL = {"units_per_stage": (1, 1, 1), "stage_channels": (8, 16, 24), "head_channels": 16}


@pytest.fixture(scope="module", autouse=True)
def small_network():
    """Replaces ShuffleNetV2 with a small one."""
    real = keras_shufflenet.ShuffleNetV2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            keras_shufflenet,
            "ShuffleNetV2",
            lambda scale, **arguments: real(**arguments, **SMALL),
        )
        yield


def make_trainer(workdir, data_dir, **overrides):
    values = {**VALUES, "data_dir": data_dir, **overrides}
    workdir.mkdir(exist_ok=True)
    config = make_config("digits", str(workdir), values)
    data = config.data
    sources = [load_source(data, split) for split in (data.train_split, data.eval_split)]
    return loop.Trainer(Task(config), tf.distribute.get_strategy(), *sources)


@pytest.mark.parametrize(("fake", "rewritten"), [("GPU", 0), ("TPU", 0), (None, 1)])
def test_the_rewritten_graph_trains_on_cpus_alone(tmp_path, data_dir, monkeypatch, fake, rewritten):
    # A fake device list: no GPU and no TPU was available.
    devices = {fake: [tf.config.LogicalDevice(f"/device:{fake}:0", fake)]}
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices.get(kind, []))
    made = []
    monkeypatch.setattr(loop, "training_forward", made.append)
    trainer = make_trainer(tmp_path / "work", data_dir)
    assert len(made) == rewritten
    if not rewritten:
        assert trainer._forward.func is trainer.model
        assert trainer._forward.keywords == {"training": True}


@pytest.mark.slow
def test_a_resumed_run_records_where_its_data_is_now(tmp_path, digits_folder):
    old, work = shutil.copytree(digits_folder, tmp_path / "old"), tmp_path / "work"
    work.mkdir()
    values = {"data_dir": str(old), "input_size": 32, "crop_share": 1.0, "steps": 1}
    config = make_config("folder", str(work), {**values, "batch_size": 16})
    loop.train(config)
    before = json.loads((work / "config.json").read_text())
    new = old.rename(tmp_path / "new")
    loop.train(config.replace(data_dir=str(new)), resume=True)
    assert TrainConfig.load(work).data.data_dir == str(new)
    after = json.loads((work / "config.json").read_text())
    after["config"]["data_dir"] = str(old)
    assert after == before


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


def test_evaluations_are_recorded(whole):
    records = metrics(whole[1])
    assert [record["step"] for record in records] == [3, 6]
    assert records[-1]["eval_images"] == 50
    assert np.isfinite(records[-1]["train_loss"])
    assert records[-1]["skipped_train_images"] == 0


def test_a_workdir_has_what_others_read(whole):
    workdir = whole[1]
    config = TrainConfig.load(workdir)
    assert (config.data.dataset, config.images.input_size) == ("digits", 32)
    assert config.optimization.steps == STEPS
    assert (workdir / "labels.txt").read_text().split() == [str(digit) for digit in range(10)]
    assert {p.name for p in workdir.iterdir()} == {
        "best.keras",
        "checkpoints",
        "config.json",
        "devices.json",
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
    assert np.abs(np.sum(logits, axis=1) - 1).max() > 1e-3  # not probabilities
    assert model.get_layer("predictions").activation is keras.activations.linear


def test_scalars_for_tensorboard(whole):
    tags = set()
    for file in (whole[1] / "tensorboard").iterdir():
        for event in EventFileLoader(str(file)).Load():
            tags |= {value.tag for value in event.summary.value}
    assert tags >= {"train/loss", "train/learning_rate", "eval/top1", "eval/top5", "eval/loss"}


def test_a_finished_run_has_nothing_left_to_do(stopped, data_dir):
    workdir = stopped[1]
    before = metrics(workdir)
    again = make_trainer(workdir, data_dir)
    again.start(resume=True)
    again.run()
    assert metrics(workdir) == before
    assert again._step() == STEPS


class AddsLoss(keras.layers.Layer):
    """A layer of a user's, with a loss of its own."""

    def call(self, x):
        self.add_loss(3.0 * keras.ops.mean(keras.ops.square(x)))
        return x


OWN_LOSSES = {
    # These two train in the trainer's graph; in the others Keras's own graph trains.
    "none": ({}, None),
    "weights": ({"kernel_regularizer": keras.regularizers.L2(0.5)}, None),
    "activations": ({"activity_regularizer": keras.regularizers.L1(0.01)}, None),
    "added": ({}, AddsLoss),
}


@pytest.mark.parametrize("name", OWN_LOSSES)
def test_losses_that_a_network_adds_itself_are_trained(name, tmp_path, data_dir, monkeypatch):
    arguments, layer = OWN_LOSSES[name]
    image = keras.Input((32, 32, 1))
    x = keras.layers.Conv2D(4, 3, strides=4, activation="relu", name="conv", **arguments)(image)
    x = layer()(x) if layer else x
    logits = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    # As if a file of this network was named, with its class registered.
    monkeypatch.setattr("trainers.task.build_model", lambda *unused: keras.Model(image, logits))
    values = {"warmup_epochs": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0, "nesterov": False}
    trainer = make_trainer(tmp_path / "work", data_dir, **values, optimizer="sgd", bias_rate=1.0)
    plain_graph = isinstance(trainer._forward, functools.partial)
    assert plain_graph == (name in ("activations", "added"))
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(-1, 1, (16, 32, 32, 1)), tf.float32)
    labels = tf.constant(rng.integers(0, 10, 16))
    kernel = trainer.model.get_layer("conv").kernel
    with tf.GradientTape() as tape:
        outputs = trainer.model(images, training=True)
        entropy = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs))
        expected = entropy + sum(trainer.model.losses)
    assert (float(expected) > float(entropy) + 0.01) == (name != "none")
    rate = float(trainer.optimizer.learning_rate)
    changed = kernel - rate * tape.gradient(expected, kernel)
    loss = tf.function(trainer.replica_step)(images, labels)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(kernel, changed, rtol=1e-4, atol=1e-6)


def test_a_non_finite_loss_stops_the_run(tmp_path, data_dir):
    trainer = make_trainer(tmp_path / "work", data_dir, eval_every=100, checkpoint_every=100)
    trainer.start(resume=False)
    trainer._train_step = lambda unused_iterator: tf.constant(float("nan"))
    with pytest.raises(UserError, match=r"non-finite at step 6: .*--learning_rate"):
        trainer.run()
    assert not (tmp_path / "work" / "model.keras").exists()


def test_non_finite_weights_stop_the_run(tmp_path, data_dir):
    trainer = make_trainer(tmp_path / "work", data_dir, eval_every=1)
    trainer.start(resume=False)

    def diverge(unused_iterator):
        trainer.model.weights[0].assign(np.full(trainer.model.weights[0].shape, np.inf))
        return tf.constant(1.0)

    trainer._train_step = diverge
    with pytest.raises(UserError, match=r"non-finite at step"):
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


# Everything that a run can keep from step to step, and everything that is random.
EVERYTHING = {
    "input_size": 32,
    "resize_size": 36,
    "train_size": 36,
    "train_size_epochs": 2 / EPOCH,
    "color_jitter": 0.4,
    "trivial_augment": True,
    "random_erasing": 0.5,
    "repeated_augmentation": 2,
    "mixup": 0.2,
    "cutmix": 1.0,
    "schedule": "linear",
    "optimizer": "muon",
    "bias_rate": 4.0,
    "nesterov": False,
    "ema_decay": 0.8,
    "batch_norm_steps": 2,
    "precision": "mixed_float16",
    "checkpoint_every": 100,
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All these settings, and a teacher."""
    folder = tmp_path_factory.mktemp("teacher")
    keras_shufflenet.ShuffleNetV2(
        scale=1.0, input_shape=(32, 32, 1), classes=10, small_images=True
    ).save(folder / "teacher.keras")
    return {**EVERYTHING, "distill": str(folder / "teacher.keras")}


@pytest.fixture(scope="module")
def whole_of_everything(everything, tmp_path_factory, data_dir):
    workdir = tmp_path_factory.mktemp("everything") / "work"
    trainer = make_trainer(workdir, data_dir, **everything)
    trainer.start(resume=False)
    trainer.run()
    return trainer, workdir


def terminated(trainer, name, step):
    """Runs until SIGTERM, which arrives while the method `name` is called at `step`."""
    method = getattr(trainer, name)

    def call(*arguments):
        if trainer._step() == step:
            signal.raise_signal(signal.SIGTERM)
        return method(*arguments)

    setattr(trainer, name, call)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(SystemExit) as caught:
        trainer.run()
    signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 75


@pytest.mark.slow
def test_everything_resumes_bit_identically_killed_twice_in_one_epoch(
    everything, whole_of_everything, tmp_path, data_dir, capsys
):
    workdir = tmp_path / "work"
    trainer = make_trainer(workdir, data_dir, **everything)
    trainer.start(resume=False)
    terminated(trainer, "_train_step", step=1)
    assert f"checkpoint of step 2 saved; to continue: {trainer._task.resume_command()}" in (
        capsys.readouterr().out
    )
    trainer = make_trainer(workdir, data_dir, **everything)
    trainer.start(resume=True)
    terminated(trainer, "_count", step=3)  # within the evaluation
    assert metrics(workdir) == []
    trainer = make_trainer(workdir, data_dir, **everything)
    trainer.start(resume=True)
    assert trainer._step() == 3
    trainer.run()
    first, second = (state(t) for t in (whole_of_everything[0], trainer))
    assert any(name.endswith("dynamic_scale") for name in first)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.tobytes() == second[name].tobytes(), name
    for mine, theirs in zip(
        whole_of_everything[0]._average.shadows, trainer._average.shadows, strict=True
    ):
        assert mine.numpy().tobytes() == theirs.numpy().tobytes(), mine.name
    for mine, theirs in zip(metrics(whole_of_everything[1]), metrics(workdir), strict=True):
        assert (mine["step"], mine["eval_loss"]) == (theirs["step"], theirs["eval_loss"])


def test_the_saved_model_is_the_average_in_float32_at_the_evaluations_size(whole_of_everything):
    trainer, workdir = whole_of_everything
    model = load_model(workdir / "model.keras")
    assert model.dtype_policy.name == "float32" and model.input_shape == (None, 32, 32, 1)
    for weight, shadow, trained in zip(
        model.weights, trainer._average.shadows, trainer.model.weights, strict=True
    ):
        np.testing.assert_array_equal(weight, shadow, weight.path)
        assert not np.array_equal(weight, trained), weight.path


@pytest.mark.slow
def test_images_have_the_size_of_the_evaluation_after_the_first_epochs(tmp_path, data_dir):
    values = {"resize_size": 40, "train_size": 40, "train_size_epochs": 4 / EPOCH}
    trainer = make_trainer(tmp_path / "work", data_dir, **values)
    trainer.start(resume=False)
    step, sizes = trainer._train_step, []

    def noting(iterator):
        images, _ = iterator.element_spec
        sizes.append(images.shape[1])
        return step(iterator)

    trainer._train_step = noting
    trainer.run()
    assert sizes == [40, 40, 40, 40, 32, 32]
    model = load_model(tmp_path / "work" / "model.keras")
    assert model.input_shape == (None, 32, 32, 1)


@pytest.mark.slow
def test_a_whitened_stem_is_not_trained(tmp_path, data_dir):
    values = {"whiten_stem": True, "steps": 2, "optimizer": "muon"}
    trainer = make_trainer(tmp_path / "work", data_dir, **values)
    trainer.start(resume=False)
    kernels = [weight for weight in trainer.model.weights if weight.name == "kernel"]
    begin = [kernel.numpy() for kernel in kernels]
    trainer.run()
    for before, weight in zip(begin, kernels, strict=True):
        is_fixed = weight.path == "stem_conv/kernel"
        assert np.array_equal(before, weight) == is_fixed, weight.path
    config = trainer._config
    model = build_model(config.network, config.images, 1, 10)
    whiten_stem(model, config.data, config.images, trainer._train_source)
    stems = [net.get_layer("stem_conv").kernel.numpy() for net in (trainer.model, model)]
    # A grey patch has nine components; the other kernels are random and are not trained either.
    np.testing.assert_array_equal(*(kernel[..., :18] for kernel in stems))
    assert not any("stem_conv" in variable.path for variable in trainer.optimizer.variables)
    resumed = make_trainer(tmp_path / "work", data_dir, **values)
    resumed.start(resume=True)
    np.testing.assert_array_equal(resumed.model.get_layer("stem_conv").kernel, stems[0])


def test_what_is_evaluated_is_what_is_saved(whole_of_everything):
    trainer, workdir = whole_of_everything
    model = load_model(workdir / "model.keras")
    images, labels = pipeline.uint8_images(trainer._config, "test[:50]")
    logits = model(keras_shufflenet.preprocess_input(images))
    loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    found = metrics(workdir)[-1]["eval_loss"]
    assert found == pytest.approx(
        float(np.mean(loss)), rel=0.01
    )  # the run's is computed in float16


def test_batch_norms_statistics_are_those_of_the_batches_after_the_last(whole_of_everything):
    trainer, workdir = whole_of_everything
    model = load_model(workdir / "model.keras")
    model.input_spec = keras.layers.InputSpec(ndim=4)
    saved = [weight.numpy() for weight in model.weights]
    config = dataclasses.replace(trainer._config, images=trainer._config.images.grown())
    batches = pipeline.training_batches(config, trainer._train_source, STEPS).take(2)
    BatchNormStatistics(model, tf.distribute.get_strategy()).reestimate(batches)
    for before, weight in zip(saved, model.weights, strict=True):
        # The run's statistics are computed in float16.
        np.testing.assert_allclose(weight, before, rtol=0.02, atol=2e-3, err_msg=weight.path)


@pytest.mark.parametrize(("minutes", "expected"), [(0.0, [0, 1, 2, 3]), (1000.0, [0, 3])])
def test_a_checkpoint_every_some_minutes(tmp_path, data_dir, minutes, expected):
    values = {"steps": 3, "eval_every": 100, "checkpoint_every": 100}
    trainer = make_trainer(tmp_path / "work", data_dir, checkpoint_minutes=minutes, **values)
    steps, save = [], trainer._checkpoints.save
    trainer._checkpoints.save = lambda: (steps.append(trainer._step()), save())
    trainer.start(resume=False)
    trainer.run()
    assert steps == expected


def test_a_run_starts_with_the_given_weights(whole, tmp_path, data_dir):
    values = {"weights": str(whole[1]), "ema_decay": 0.5}
    trainer = make_trainer(tmp_path / "work", data_dir, **values)
    trainer.start(resume=False)
    expected = [weight.numpy() for weight in load_model(whole[1] / "model.keras").weights]
    for weights in (trainer.model.weights, trainer._average.shadows):
        for value, weight in zip(expected, weights, strict=True):
            np.testing.assert_array_equal(value, weight)


def test_a_run_resumes_from_the_last_complete_checkpoint(whole, tmp_path, data_dir, capsys):
    workdir = tmp_path / "work"
    shutil.copytree(whole[1], workdir)
    (workdir / "checkpoints" / f"ckpt-{STEPS}.index").write_bytes(b"")
    (workdir / "checkpoints" / "checkpoint").write_bytes(b"model_check")
    trainer = make_trainer(workdir, data_dir)
    trainer.start(resume=True)
    said = capsys.readouterr().out
    assert f"ckpt-{STEPS} (" in said and f"at step 4 of {STEPS}" in said
    trainer.run()
    for name, value in state(whole[0]).items():
        assert value.tobytes() == state(trainer)[name].tobytes(), name


def test_without_a_complete_checkpoint_no_run_starts_again(whole, tmp_path, data_dir):
    workdir = tmp_path / "work"
    shutil.copytree(whole[1], workdir)
    for path in (workdir / "checkpoints").glob("*.index"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="no checkpoint can be restored"):
        make_trainer(workdir, data_dir).start(resume=True)
    (workdir / "config.json").unlink()
    with pytest.raises(UserError, match="holds the checkpoints of another run"):
        make_trainer(workdir, data_dir).start(resume=False)


def test_a_workdir_in_use_is_refused(tmp_path, data_dir):
    config = make_config("digits", str(tmp_path), {**VALUES, "data_dir": data_dir})
    with locked(tmp_path), pytest.raises(UserError, match="in use by another training"):
        loop.train(config)


def test_a_run_that_another_process_finished_meanwhile_is_not_overwritten(tmp_path, data_dir):
    (tmp_path / "config.json").write_text("the other's")
    with pytest.raises(UserError, match="already holds a run; add --resume"):
        loop.train(make_config("digits", str(tmp_path), {**VALUES, "data_dir": data_dir}))
    assert (tmp_path / "config.json").read_text() == "the other's"


def test_colour_statistics_need_colour(tmp_path, data_dir):
    config = make_config("digits", str(tmp_path), {"data_dir": data_dir, "preprocessing": "torch"})
    with pytest.raises(UserError, match=r"--preprocessing=torch is for colour images.*1 channel"):
        loop.train(config)


def test_early_evaluations_have_batch_norms_statistics_that_fit(tmp_path, data_dir):
    """Otherwise a network that learns is shown with a loss of 801."""
    trainer = make_trainer(tmp_path / "work", data_dir)
    variance = batch_norms(trainer.model)[0].moving_variance
    variance.assign(np.full(variance.shape, 1e-6))
    with trainer._fitted_batch_norms(3, lambda: None):
        found = variance.numpy()
    np.testing.assert_array_equal(variance, np.full(variance.shape, 1e-6, np.float32))
    # At the end, what is evaluated is what is saved; before the start, nothing has moved.
    for step in (0, STEPS):
        with trainer._fitted_batch_norms(step, lambda: None):
            np.testing.assert_array_equal(variance, np.full(variance.shape, 1e-6, np.float32))
    batches = pipeline.training_batches(trainer._config, trainer._train_source, 3).take(4)
    BatchNormStatistics(trainer.model, tf.distribute.get_strategy()).reestimate(batches)
    np.testing.assert_allclose(found, variance, rtol=1e-5)
    assert found.min() > 1e-5


def test_fast_weights_end_after_the_warm_up_or_200_steps(tmp_path, data_dir):
    trainer = make_trainer(tmp_path / "work", data_dir, warmup_epochs=0, steps=5000)
    assert trainer._fast_until == 200
    trainer = make_trainer(tmp_path / "other", data_dir, warmup_epochs=18, steps=5000)
    assert trainer._fast_until == round(20 * EPOCH)
