"""Training, evaluating and predicting with a detector, as a user types it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_shufflenet
from common.cli import UserError
from trainers.config import TrainConfig
from trainers.recipes import make_config

ROOT = Path(__file__).resolve().parents[3]
# Small: one level, and its tracing takes most of the time.
FLAGS = ("--recipe=detection", "--input_size=64", "--neck=fused", "--neck_width=16")
FLAGS += ("--batch_size=4", "--steps=4", "--eval_split=train", "--checkpoint_every=2")


def command(name, *args):
    return [sys.executable, "-m", f"trainers.{name}", *map(str, args)]


def run(name, *args):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command(name, *args), env=env, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def detector(tmp_path_factory, squares_folder):
    """The workdir of a training of four steps. Do not write into it."""
    workdir = tmp_path_factory.mktemp("detector") / "work"
    done = run("train", *FLAGS, f"--data_dir={squares_folder}", f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    assert "train: 7 images, 9 boxes of 2 classes" in done.stdout + done.stderr
    return workdir


@pytest.mark.medium
def test_the_workdir_is_a_detectors(detector):
    config = TrainConfig.load(detector)
    assert (config.detection.task, config.optimization.optimizer) == ("detection", "adamw")
    assert (detector / "labels.txt").read_text().split() == ["red", "blue"]
    record = json.loads((detector / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"ap", "ap50", "ap75", "ap_small"} <= record.keys()
    model = keras_shufflenet.load_model(detector / "model.keras")
    assert keras_shufflenet.detector_strides(model) == (16,)


@pytest.mark.medium
def test_evaluate_writes_scores_boxes_and_a_page(detector, tmp_path):
    done = run("evaluate", f"--model={detector}", f"--output={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "on 7 images of train: AP " in done.stdout
    scores = json.loads((tmp_path / "evaluation.json").read_text())
    last = json.loads((detector / "metrics.jsonl").read_text().splitlines()[-1])
    assert scores["ap"] == pytest.approx(last["ap"], abs=1e-6)
    assert scores["classes"]["red"]["boxes"] + scores["classes"]["blue"]["boxes"] == 9
    images = json.loads((tmp_path / "detections.json").read_text())["images"]
    assert len(images) == 7 and images[1]["detections"][0]["class"] in ("red", "blue")
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 7 and "The surest mistakes" in page


@pytest.mark.medium
def test_predict_draws_and_lists_boxes(detector, squares_folder, tmp_path):
    photos = tmp_path / "photos"
    (photos / "in").mkdir(parents=True)
    shutil.copy(squares_folder / "images" / "3.png", photos / "in" / "3.png")
    Image.new("RGB", (50, 80), (128, 128, 128)).save(photos / "grey.jpg")
    (photos / "text.jpg").write_text("no image")
    output = tmp_path / "found"
    flags = (f"--model={detector}", f"--output={output}", "--score=0.01", "--format=csv")
    done = run("predict", *flags, photos)
    assert done.returncode == 0, done.stderr
    assert f"warning: {photos}/text.jpg cannot be read: not an image" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "file,class,score,left,top,right,bottom"
    listed = json.loads((output / "detections.json").read_text())
    assert [(one["width"], one["height"]) for one in listed["images"]] == [(50, 80), (96, 64)]
    assert len(lines) - 1 == sum(len(one["detections"]) for one in listed["images"]) > 0
    boxes = [each["box"] for one in listed["images"] for each in one["detections"]]
    assert np.min(boxes) >= 0 and np.max(boxes) <= 96
    assert [one["file"].rpartition("/")[2] for one in listed["unreadable"]] == ["text.jpg"]
    assert Image.open(output / "in" / "3.png.jpg").size == (96, 64)
    # A picture never replaces a photograph.
    before = (photos / "grey.jpg").read_bytes()
    done = run("predict", f"--model={detector}", f"--output={photos}", photos)
    assert done.returncode == 1 and "would be replaced by a picture" in done.stderr
    assert (photos / "grey.jpg").read_bytes() == before


@pytest.mark.slow
def test_a_killed_run_resumes_bit_identically(detector, squares_folder, tmp_path):
    flags = (*FLAGS, f"--data_dir={squares_folder}", f"--workdir={tmp_path / 'w'}", "--resume")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command("train", *flags), env=env, stderr=subprocess.DEVNULL)
    checkpoint, started = tmp_path / "w" / "checkpoints" / "ckpt-2.index", time.monotonic()
    while not checkpoint.exists():
        assert process.poll() is None and time.monotonic() - started < 250
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "w" / "model.keras").exists()
    done = run("train", *flags)
    assert done.returncode == 0 and "at step 2 of 4" in done.stdout + done.stderr, done.stderr
    models = [keras_shufflenet.load_model(w / "model.keras") for w in (detector, tmp_path / "w")]
    for mine, theirs in zip(*(model.variables for model in models), strict=True):
        assert mine.numpy().tobytes() == theirs.numpy().tobytes()


@pytest.mark.medium
def test_weights_and_workdirs_of_another_kind_are_refused(
    detector, trained_workdir, squares_folder, tmp_path
):
    with pytest.raises(UserError, match="is a detector's training; name a classifier's"):
        make_config("finetune", "w", {"weights": str(detector), "data_dir": "x"})
    # A detector's whole network is taken over.
    made = make_config("detection", "w", {"weights": str(detector), "data_dir": "x"})
    assert (made.detection.neck, made.images.input_size) == ("fused", 64)
    # A classifier's network of small images has no such maps.
    flags = (f"--weights={trained_workdir}", f"--data_dir={squares_folder}")
    done = run("train", "--recipe=detection", *flags, f"--workdir={tmp_path / 'w'}")
    assert done.returncode == 1 and "--small_images is for classifiers" in done.stderr
    # A classifier's file in a detector's workdir.
    mixed = tmp_path / "mixed"
    shutil.copytree(detector, mixed)
    shutil.copy(trained_workdir / "model.keras", mixed / "model.keras")
    done = run("evaluate", f"--model={mixed}", f"--output={tmp_path}")
    assert done.returncode == 1 and "is no detector" in done.stderr, done.stderr
