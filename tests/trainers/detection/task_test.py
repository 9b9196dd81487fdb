import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import keras_shufflenet
from common.cli import UserError
from trainers import loop
from trainers.config import TrainConfig
from trainers.detection.task import DetectionTask, open_sources

pytestmark = pytest.mark.medium

SMALL = {"units_per_stage": (1, 1, 1), "stage_channels": (12, 16, 24), "stem_channels": 8}


@pytest.fixture(scope="module", autouse=True)
def small_network():
    """Replaces ShuffleNetV2 with a small one."""
    real = keras_shufflenet.ShuffleNetV2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            keras_shufflenet, "ShuffleNetV2", lambda scale, **given: real(**given, **SMALL)
        )
        yield


def make_config(workdir, folder, **changes):
    values = {
        "recipe": "detection",
        "dataset": "folder",
        "data_dir": str(folder),
        "eval_split": "train",
        "scale": 0.5,
        "input_size": 64,
        "batch_size": 4,
        "steps": 4,
        "eval_every": 2,
        "checkpoint_every": 2,
        "learning_rate": 0.02,
        "weight_decay": 1e-4,
        "optimizer": "adamw",
        "task": "detection",
        # One level, because tracing takes most of the time.
        "neck": "fused",
        "window_min": 0.9,
        "window_max": 1.1,
    }
    return TrainConfig.from_flat({**values, "workdir": str(workdir), **changes})


def weights(workdir):
    model = keras_shufflenet.load_model(workdir / "model.keras")
    return [value.numpy() for value in model.variables]


def test_a_run_resumes_bit_identically_and_records_average_precision(
    tmp_path, squares_folder, capsys
):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for workdir in (whole, stopped):
        workdir.mkdir()
    loop.train(make_config(whole, squares_folder), False, DetectionTask, open_sources)
    assert "train: 7 images, 9 boxes of 2 classes" in capsys.readouterr().out

    config = make_config(stopped, squares_folder)
    sources = open_sources(config.data, ["train", "train"])
    trainer = loop.Trainer(DetectionTask(config), tf.distribute.get_strategy(), *sources)
    trainer.start(resume=False)
    step, taken = trainer._train_step, []

    def twice(iterator):
        if len(taken) == 3:
            raise KeyboardInterrupt
        taken.append(1)
        return step(iterator)

    trainer._train_step = twice
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    loop.train(config, True, DetectionTask, open_sources)
    for mine, theirs in zip(weights(whole), weights(stopped), strict=True):
        assert mine.tobytes() == theirs.tobytes()
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4]
    assert {"ap", "ap50", "ap_small", "eval_images"} <= records[0].keys()
    assert records[0]["ap_large"] is None and 0 <= records[0]["ap"] <= 1
    assert (whole / "labels.txt").read_text().split() == ["red", "blue"]


def test_a_resumed_run_refuses_other_boxes(tmp_path, squares_folder):
    root = shutil.copytree(squares_folder, tmp_path / "squares")
    data = make_config(tmp_path, root).data
    open_sources(data, ["train"], tmp_path)
    moved = root.rename(tmp_path / "moved")
    data = dataclasses.replace(data, data_dir=str(moved))
    open_sources(data, ["train"], tmp_path, must_match=True)
    content = json.loads((moved / "train.json").read_text())
    content["annotations"][0]["bbox"][2] -= 1
    (moved / "train.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"have changed: unreadable-train.json .* sizes or labels"):
        open_sources(data, ["train"], tmp_path, must_match=True)


def test_evaluation_sees_each_image_once(tmp_path, squares_folder):
    config = make_config(tmp_path, squares_folder)
    (source,) = open_sources(config.data, ["train"])
    task = DetectionTask(config)
    model = task.build(source)
    assert model.output_shape == (None, 16, 4 + 2)
    strategy = tf.distribute.get_strategy()
    count = task.make_counter(model, strategy, source)
    found = list(map(count, task.evaluation_batches(source, tf.distribute.InputContext())))
    assert [len(batch) for batch in found] == [4, 3]
    assert [number for batch in found for number, _ in batch] == list(range(7))
    # A fresh detector's boxes reach two strides of the input, 32 pixels, to each side; 96 pixels of
    # the image are 64 there.
    number, boxes = found[1][2]
    assert number == 6
    sizes = boxes.boxes[:, 2:] - boxes.boxes[:, :2]
    assert np.isclose(sizes / [96, 64], 1, atol=0.05).all(1).any()


def test_a_file_s_detector_is_trained_from_the_weights_of_the_seed(tmp_path, squares_folder):
    path = str(tmp_path / "net.keras")
    saved = keras_shufflenet.ShuffleNetDetector(0.5, 2, (64, 64, 3), "fpn", strides=(8, 16))
    saved.save(path)
    given = {"model": path, "neck": "pan", "strides": "8,16"}
    config = make_config(tmp_path / "w", squares_folder, **given)
    (source,) = open_sources(config.data, ["train"])
    model = DetectionTask(config).build(source)
    assert [w.path for w in model.weights] == [w.path for w in saved.weights]
    kernels = [one.get_layer("lateral8").kernel.numpy() for one in (model, saved)]
    assert (kernels[0] != kernels[1]).any()
    bias = model.get_layer("predictions").bias.numpy()
    assert (bias == saved.get_layer("predictions").bias.numpy()).all() and bias[-1] == -4
    with pytest.raises(UserError, match=r"net.keras maps .* but these images need"):
        DetectionTask(
            make_config(tmp_path / "w", squares_folder, **{**given, "strides": "8"})
        ).build(source)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "net.keras"}, "--neck has no effect with --model=net.keras"),
        ({"model": "net.keras", "neck": "pan", "weights": "w"}, "--weights has no effect with"),
        ({"model": "mobilenet_v2"}, "--model must be shufflenet_v1, shufflenet_v2 or the .keras"),
        ({"input_size": 100}, "--input_size must be a multiple of 32"),
        ({"precision": "mixed_bfloat16"}, "--precision has no effect on detectors"),
        ({"color_jitter": 0.4}, "--color_jitter has no effect"),
        ({"label_smoothing": 0.1}, "--label_smoothing has no effect"),
    ],
)
def test_what_is_not_supported_is_said_first(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        DetectionTask(make_config(tmp_path, tmp_path, **changes))
