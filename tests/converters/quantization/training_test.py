import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from common.cli import UserError
from converters.graph.deployment import deployment_graph
from converters.quantization import training
from converters.quantization.calibration import calibrate
from converters.quantization.config import RANGES_FILE, WEIGHTS_FILE, QatConfig, load_ranges
from converters.quantization.fake_quantization import SharedRange, fake_quant_model
from converters.workdir import calibration_inputs, load_trained
from keras_shufflenet import ShuffleNetV2
from keras_shufflenet.keras_internals import flat_layers
from trainers import loop
from trainers.config import TrainConfig
from trainers.data.datasets import load_source
from trainers.recipes import make_config

pytestmark = pytest.mark.medium

ROOT = Path(__file__).resolve().parents[3]
STEPS, STOP = 6, 4
VALUES = {
    "steps": STEPS,
    "batch_size": 16,
    "learning_rate": 0.01,
    "warmup_epochs": 0,
    "eval_split": "test[:50]",
    "eval_every": 3,
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def float_workdir(tmp_path_factory):
    """The workdir of a float training of a small network, here with random weights."""
    root = tmp_path_factory.mktemp("float")
    workdir = root / "work"
    workdir.mkdir()
    keras.utils.set_random_seed(0)
    model = ShuffleNetV2(
        input_shape=(32, 32, 1),
        small_images=True,
        units_per_stage=(1, 2, 1),
        stage_channels=(16, 24, 32),
        head_channels=48,
        classes=10,
        classifier_activation=None,
    )
    rng = np.random.default_rng(0)
    for layer in flat_layers(model):
        # Fresh statistics make every logit nearly zero.
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(rng.uniform(1, 3, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.3, layer.beta.shape))
    model.save(workdir / "model.keras")
    make_config("digits", str(workdir), {"data_dir": str(root / "tfds")}).save(workdir)
    (workdir / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    return workdir


def settings(float_workdir, **overrides):
    return QatConfig(model=float_workdir, ranges="minmax", calibration_images=32, **overrides)


def make_trainer(float_workdir, folder, resume=False, **overrides):
    folder.mkdir(exist_ok=True)
    data_dir = str(float_workdir.parent / "tfds")
    config = make_config("digits", str(folder), {**VALUES, "data_dir": data_dir})
    data = config.data
    sources = [load_source(data, split) for split in (data.train_split, data.eval_split)]
    task = training.QatTask(config, settings(float_workdir, **overrides), resume)
    trainer = loop.Trainer(task, tf.distribute.get_strategy(), *sources)
    trainer.start(resume)
    return trainer, task


@pytest.fixture(scope="module")
def whole(float_workdir, tmp_path_factory):
    """The (trainer, folder) of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "qat"
    trainer, _ = make_trainer(float_workdir, folder)
    trainer.run()
    return trainer, folder


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (8, 32, 32, 1)).astype(np.float32)


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_no_step_is_post_training_quantization(float_workdir, tmp_path, images):
    trainer, _ = make_trainer(float_workdir, tmp_path / "qat")
    trained = load_trained(float_workdir)
    graph = deployment_graph(trained.model)
    expected = fake_quant_model(graph, calibrate(graph, calibration_inputs(trained, 32)))
    np.testing.assert_array_equal(trainer.model(images), expected(images))


def test_a_resumed_run_is_bit_identical(float_workdir, whole, tmp_path):
    folder = tmp_path / "qat"
    stopped, _ = make_trainer(float_workdir, folder)
    step = stopped._train_step

    def interrupted(iterator):
        if stopped._step() == STOP:
            raise KeyboardInterrupt
        return step(iterator)

    stopped._train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    resumed, _ = make_trainer(float_workdir, folder, resume=True)
    assert resumed._step() == STOP
    resumed.run()
    for kind in ("model.weights", "optimizer.variables"):
        owner, _, attribute = kind.partition(".")
        mine = getattr(getattr(whole[0], owner), attribute)
        theirs = getattr(getattr(resumed, owner), attribute)
        for first, second in zip(mine, theirs, strict=True):
            assert first.numpy().tobytes() == second.numpy().tobytes(), (kind, first)
    for mine, theirs in zip(metrics(whole[1]), metrics(folder), strict=True):
        for name in ("step", "eval_loss", "top1", "eval_images"):
            assert mine[name] == theirs[name]


def test_what_was_trained_reloads_exactly(whole, images):
    trainer, folder = whole
    loaded = training.load_qat(folder)
    np.testing.assert_array_equal(loaded.model(images), trainer.model(images))
    untrained = fake_quant_model(loaded.graph, load_ranges(folder))
    change = np.abs(loaded.model(images) - untrained(images)).max()
    assert change > 0.01 * np.std(untrained(images))


def test_the_folder_can_be_found_from_anywhere(float_workdir, whole, tmp_path, images):
    moved = tmp_path / "elsewhere"
    shutil.copytree(float_workdir, moved / float_workdir.relative_to(float_workdir.anchor))
    shutil.copytree(whole[1], moved / whole[1].relative_to(whole[1].anchor))
    loaded = training.load_qat(moved / whole[1].relative_to(whole[1].anchor))
    np.testing.assert_array_equal(loaded.model(images), whole[0].model(images))


def test_ranges_do_not_train_and_are_written(whole):
    trainer, folder = whole
    ranges = load_ranges(folder)
    layers = [layer for layer in trainer.model.layers if isinstance(layer, SharedRange)]
    assert len(layers) == len(ranges)
    for layer in layers:
        expected = np.float32(ranges[layer.name.removesuffix("_range")])
        np.testing.assert_array_equal(layer.get_weights(), expected)


def test_the_start_is_also_evaluated(whole):
    assert [record["step"] for record in metrics(whole[1])] == [0, 3, 6]


def test_the_folder_has_what_others_read(float_workdir, whole):
    folder = whole[1]
    assert TrainConfig.load(folder).optimization.steps == STEPS
    assert QatConfig.load(folder) == settings(float_workdir)
    assert (folder / "labels.txt").read_text().split() == [str(digit) for digit in range(10)]
    assert {path.name for path in folder.iterdir()} == {
        "best.weights.h5",
        "checkpoints",
        "config.json",
        "devices.json",
        "fake_quant.weights.h5",
        "labels.txt",
        "metrics.jsonl",
        "ranges.json",
        "tensorboard",
    }
    versions = json.loads((folder / "config.json").read_text())["versions"]
    assert versions["tensorflow-model-optimization"]


def test_distillation_mixes_in_the_float_models_logits(float_workdir, tmp_path, images):
    overrides = {"distill": True, "temperature": 3.0, "distill_weight": 0.25}
    trainer, task = make_trainer(float_workdir, tmp_path / "qat", **overrides)
    labels = np.arange(8)
    logits = trainer.model(images).numpy()
    found = task.losses(images, labels, logits)

    teacher = np.asarray(load_trained(float_workdir).model(images), np.float64)
    target, guess = softmax(teacher / 3), softmax(logits.astype(np.float64) / 3)
    divergence = 9 * (target * np.log(target / guess)).sum(-1)
    smoothed = 0.9 * np.eye(10)[labels] + 0.01
    hard = -(smoothed * np.log(softmax(logits.astype(np.float64)))).sum(-1)
    assert divergence.min() > 1e-6
    np.testing.assert_allclose(found, 0.75 * hard + 0.25 * divergence, rtol=1e-4)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


@pytest.mark.slow
def test_a_distilled_run_trains(float_workdir, tmp_path):
    trainer, _ = make_trainer(float_workdir, tmp_path / "qat", distill=True)
    before = trainer.model.trainable_variables[0].numpy()
    teacher = trainer._task._distillation.teacher.func
    before_teaching = [weight.numpy() for weight in teacher.weights]
    trainer.run()
    assert np.abs(trainer.model.trainable_variables[0].numpy() - before).max() > 0
    for kept, weight in zip(before_teaching, teacher.weights, strict=True):
        np.testing.assert_array_equal(kept, weight)


def test_other_classes_are_rejected(float_workdir, tmp_path, digits_folder):
    values = {**VALUES, "dataset": "folder", "data_dir": str(digits_folder), "eval_split": "test"}
    config = make_config("digits", str(tmp_path), values)
    task = object.__new__(training.QatTask)
    task.config, task._qat, task._labels = config, settings(float_workdir), ("a", "b")
    with pytest.raises(UserError, match=r"has other classes than .*labels\.txt"):
        task.build(load_source(config.data, "train"))


@pytest.fixture
def copied(float_workdir, whole, tmp_path):
    """A (float workdir, folder) that a test may damage."""
    shutil.copytree(float_workdir, tmp_path / "work")
    folder = tmp_path / "work" / "qat"
    shutil.copytree(whole[1], folder)
    record = json.loads((folder / "config.json").read_text())
    record["quantize"]["model"] = ".."
    (folder / "config.json").write_text(json.dumps(record))
    return tmp_path / "work", folder


def test_a_float_model_that_changed_is_an_error(copied):
    with (copied[0] / "model.keras").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"model\.keras has changed since .*qat was trained"):
        training.load_qat(copied[1])
    (copied[0] / "model.keras").unlink()
    with pytest.raises(UserError, match=r"model\.keras is missing"):
        training.load_qat(copied[1])


@pytest.mark.parametrize("name", ["config.json", RANGES_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("share", [None, 0, 0.5])
def test_a_missing_or_cut_file_is_an_error(copied, name, share):
    path = copied[1] / name
    if share is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match=name):
        training.load_qat(copied[1])


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda ranges: ranges.update(stem=[0.0, 3.0]), "have different ranges"),
        (lambda ranges: ranges.update(stem=[1.0, 3.0]), r"cannot be read \(stem: \[1\.0, 3\.0\]"),
        (lambda ranges: ranges.update(stem=None), "cannot be read"),
        (lambda ranges: ranges.pop("stem"), "has no range for 'stem'"),
    ],
)
def test_changed_ranges_are_an_error(copied, change, pattern):
    path = copied[1] / RANGES_FILE
    record = json.loads(path.read_text())
    assert "stem" in record["ranges"]
    change(record["ranges"])
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=pattern):
        training.load_qat(copied[1])


def test_weights_of_another_network_are_an_error(copied):
    other = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Dense(2)])
    other.save_weights(copied[1] / WEIGHTS_FILE)
    with pytest.raises(UserError, match=f"{WEIGHTS_FILE} cannot be loaded"):
        training.load_qat(copied[1])


def test_a_float_training_is_not_a_quantized_one(float_workdir):
    with pytest.raises(UserError, match="is not a quantization-aware training"):
        training.load_qat(float_workdir)


MIRRORED = """
import sys
from pathlib import Path
import numpy as np
from converters.quantization.config import QatConfig
from converters.quantization.training import QatTask
from trainers import loop
from trainers.config import TrainConfig
from trainers.data import pipeline
from trainers.data.datasets import load_source
from trainers.distribution.strategy import make_strategy

config = TrainConfig.load(sys.argv[1])
settings = QatConfig(model=Path(sys.argv[2]), ranges="minmax", calibration_images=32, distill=True)
size, data = config.optimization.batch_size, config.data
two = make_strategy(config.placement, size)
one = make_strategy(config.replace(strategy="one").placement, size)
sources = [load_source(data, split) for split in (data.train_split, data.eval_split)]
task = QatTask(config, settings)

# A whole run: all devices have the same values.
trainer = loop.Trainer(task, two, *sources)
trainer.start(resume=False)
trainer.run()
variables = list(trainer.model.weights)
variables += [variable.value for variable in trainer.optimizer.variables]
for variable in variables:
    first, second = two.experimental_local_results(variable)
    assert (first.numpy() == second.numpy()).all(), variable
    assert first.device != second.device

# Two devices and one: the same step, apart from a few values that round differently.
updates, losses = [], []
for where in (two, one):
    trainer = loop.Trainer(task, where, *sources)
    batches = pipeline.training_batches(config, sources[0], 0)
    start = [variable.numpy() for variable in trainer.model.trainable_variables]
    loss = trainer._train_step(iter(where.experimental_distribute_dataset(batches)))
    end = [variable.numpy() for variable in trainer.model.trainable_variables]
    updates.append(np.concatenate([(b - a).ravel() for a, b in zip(start, end)]))
    losses.append(float(loss))
np.testing.assert_allclose(*losses, rtol=1e-4)
error = np.linalg.norm(updates[0] - updates[1]) / np.linalg.norm(updates[1])
assert error < 0.01, error
"""


@pytest.mark.slow
def test_two_devices_train_as_one(float_workdir, tmp_path):
    values = {**VALUES, "strategy": "mirrored", "devices": 2, "workdir": str(tmp_path / "qat")}
    config = TrainConfig.load(float_workdir).replace(**values)
    (tmp_path / "qat").mkdir()
    config.save(config.workdir)
    # In a separate process, because a process can divide its CPU only before it uses it.
    command = [sys.executable, "-c", MIRRORED, config.workdir, str(float_workdir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [record["step"] for record in metrics(tmp_path / "qat")] == [0, 3, 6]
    training.load_qat(tmp_path / "qat")
