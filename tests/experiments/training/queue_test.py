import functools
import json
import shutil
import signal

import keras
import numpy as np
import pytest

from common.cli import UserError
from experiments.training import queue as training_queue
from experiments.training.config import QueueConfig
from experiments.training.queue import Training, finished, train_all
from experiments.training.queue import trained as reached
from keras_shufflenet.detector import detector_on_maps
from trainers.config import TrainConfig


def build(input_shape, classes, small_images, filters=4):
    """A network that trains in a second; any network would do for the queue."""
    assert small_images
    image = keras.Input(input_shape)
    x = keras.layers.Conv2D(filters, 3, strides=4, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(classes, name="predictions")(x), name="tiny")


def queue_in(folder, images, seeds=(0,), names=None, **values):
    values = {"dataset": "folder", "data_dir": str(images), "steps": 2, "batch_size": 8, **values}
    return QueueConfig("digits", values, seeds, folder, names)


FOUR = Training("Four filters", build)
TWO = Training("two", functools.partial(build, filters=2))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digits_folder):
    """A queue of one trained network. Do not write into it."""
    queue = queue_in(tmp_path_factory.mktemp("queue"), digits_folder)
    train_all([FOUR], queue)
    return queue


def test_a_network_has_a_workdir_for_each_seed_and_an_accuracy(trained):
    workdir = trained.folder / "four-filters" / "seed0"
    assert (workdir / "model.keras").is_file()
    last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
    found = finished(["Four filters", "two"], trained.folder)
    assert list(found) == ["Four filters"]
    reached = found["Four filters"]
    assert (reached.top1, reached.images, last["step"]) == ({0: last["top1"]}, 30, 2)
    assert (reached.settings["recipe"], reached.settings["steps"]) == ("digits", 2)
    assert not {"model", "seed", "workdir"} & set(reached.settings)
    # 8 by 8 positions of 4 filters of 3x3x3; then the classifier of three classes.
    assert reached.macs == 8 * 8 * 27 * 4 + 4 * 3


def test_seeds_that_were_trained_differently_have_no_mean(trained, tmp_path):
    shutil.copytree(trained.folder, tmp_path / "queue")
    network = tmp_path / "queue" / "four-filters"
    shutil.copytree(network / "seed0", network / "seed1")
    config = TrainConfig.load(network / "seed1")
    assert finished(["Four filters"], tmp_path / "queue")["Four filters"].images == 30
    config.replace(seed=1, epochs=3.0).save(network / "seed1")
    with pytest.raises(UserError, match=r"seed1 and .*seed0 were .* values of epochs"):
        finished(["Four filters"], tmp_path / "queue")


def refuse_training(*args, **kwargs):
    raise AssertionError("nothing must be trained")


def test_what_is_finished_is_not_done_again(trained, monkeypatch, capsys):
    monkeypatch.setattr(training_queue.loop, "train", refuse_training)
    train_all([FOUR], trained)
    assert "training 1 of 1: Four filters, seed 0: already done, in" in capsys.readouterr().out


def test_another_seed_is_another_training(trained, monkeypatch):
    begun = []
    monkeypatch.setattr(
        training_queue.loop, "train", lambda config, *_: begun.append(config.optimization.seed)
    )
    train_all([FOUR], queue_in(trained.folder, trained.values["data_dir"], (0, 5)))
    assert begun == [5]


def test_other_values_are_refused_before_anything_is_trained(trained, monkeypatch):
    monkeypatch.setattr(training_queue.loop, "train", refuse_training)
    changed = queue_in(trained.folder, trained.values["data_dir"], steps=5)
    with pytest.raises(UserError, match=r"four-filters/seed0 .*\(steps: 2 → 5\); give the same"):
        train_all([TWO, FOUR], changed)


def test_another_network_of_the_same_name_is_refused(trained):
    with pytest.raises(UserError, match=r"four-filters holds trainings of another network"):
        train_all([Training(FOUR.name, TWO.build)], trained)


def test_an_unknown_network_is_named(tmp_path):
    with pytest.raises(UserError, match="no network to train 'three'; there are Four filters, two"):
        train_all([FOUR, TWO], queue_in(tmp_path, tmp_path, names=["three"]))


@pytest.fixture
def heeds_ctrl_c():
    """Makes Ctrl-C raise: a test run that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_an_interrupted_training_resumes_as_if_nothing_had_happened(
    trained, tmp_path, digits_folder, monkeypatch, capsys
):
    queue = queue_in(tmp_path / "queue", digits_folder)
    losses = training_queue._QueuedTask.losses

    def interrupt(self, *args):
        # Called once, when the step is traced: the signal waits for the step's end.
        signal.raise_signal(signal.SIGINT)
        return losses(self, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training_queue._QueuedTask, "losses", interrupt)
        train_all([FOUR], queue)
    workdir = queue.folder / "four-filters" / "seed0"
    assert not (workdir / "model.keras").exists()
    train_all([FOUR], queue)
    assert "at step 1 of 2" in capsys.readouterr().out
    whole = trained.folder / "four-filters" / "seed0"
    both = [keras.saving.load_model(each / "model.keras") for each in (workdir, whole)]
    for resumed, uninterrupted in zip(*(model.get_weights() for model in both), strict=True):
        assert np.array_equal(resumed, uninterrupted)


def test_a_failure_does_not_stop_the_queue(tmp_path, digits_folder, monkeypatch):
    begun = []

    def fail(config, resume, make_task, load):
        begun.append(config.workdir)
        raise UserError("it diverged")

    monkeypatch.setattr(training_queue.loop, "train", fail)
    with pytest.raises(UserError, match=r"2 of 2 .*: Four filters, seed 0: it diverged; two, seed"):
        train_all([FOUR, TWO], queue_in(tmp_path, digits_folder))
    assert len(begun) == 2


def detector(input_shape, classes):
    image = x = keras.Input(input_shape)
    maps = []
    for _ in range(5):
        x = keras.layers.Conv2D(4, 3, 2, padding="same")(x)
        maps.append(x)
    return detector_on_maps(image, maps[2:], classes, width=8, neck="fused")


@pytest.mark.medium
def test_a_detector_is_trained_and_has_its_average_precision(tmp_path, squares_folder, capsys):
    values = {"data_dir": str(squares_folder), "eval_split": "train", "input_size": 64}
    values |= {"steps": 2, "batch_size": 4, "strides": "16"}
    queue = QueueConfig("detection", values, (0,), tmp_path)
    for _ in range(2):
        train_all([Training("Fused", detector)], queue)
    assert "Fused, seed 0: already done" in capsys.readouterr().out
    found = reached(["Fused"], tmp_path)["Fused"]
    assert (found.images, found.settings["input_size"]) == (7, 64)
    assert 0 <= found.evaluations[0]["ap50"] <= 1 and found.macs > 0


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,)])
def test_seeds_must_be_different_numbers(seeds, tmp_path):
    with pytest.raises(UserError, match="--seeds must be different numbers"):
        queue_in(tmp_path, tmp_path, seeds)
