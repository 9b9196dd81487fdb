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
EVALUATE, PREDICT, TRAIN = "trainers.evaluate", "trainers.predict", "trainers.train"


def test_the_workdir_is_a_detectors(detector_workdir):
    config = TrainConfig.load(detector_workdir)
    assert (config.detection.task, config.optimization.optimizer) == ("detection", "adamw")
    assert (detector_workdir / "labels.txt").read_text().split() == ["red", "blue"]
    record = json.loads((detector_workdir / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"ap", "ap50", "ap75", "ap_small"} <= record.keys()
    model = keras_shufflenet.load_model(detector_workdir / "model.keras")
    assert keras_shufflenet.detector_strides(model) == (16,)


def test_evaluate_writes_scores_boxes_and_a_page(run_cli, detector_workdir, tmp_path):
    done = run_cli(EVALUATE, f"--model={detector_workdir}", f"--output={tmp_path}")
    assert "on 7 images of train: AP " in done.stdout
    scores = json.loads((tmp_path / "evaluation.json").read_text())
    last = json.loads((detector_workdir / "metrics.jsonl").read_text().splitlines()[-1])
    assert scores["ap"] == pytest.approx(last["ap"], abs=1e-6)
    assert scores["classes"]["red"]["boxes"] + scores["classes"]["blue"]["boxes"] == 9
    images = json.loads((tmp_path / "detections.json").read_text())["images"]
    assert len(images) == 7 and images[1]["detections"][0]["class"] in ("red", "blue")
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 7 and "The surest mistakes" in page


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_damaged_image_is_named_and_kept_out(
    run_cli, detector_workdir, squares_folder, tmp_path, suffix
):
    root = tmp_path / "squares"
    shutil.copytree(squares_folder, root)
    # Its header is whole.
    damaged = root / "images" / "3.png"
    Image.open(damaged).convert("RGB").save(damaged.with_suffix(suffix))
    damaged.write_bytes(damaged.with_suffix(suffix).read_bytes()[:-100])
    flags = (f"--model={detector_workdir}", f"--data_dir={root}", f"--output={tmp_path / 'scores'}")
    done = run_cli(EVALUATE, *flags)
    assert f"skipping {damaged}: it cannot be decoded" in done.stderr
    assert f"1x image that cannot be decoded; the first image is {damaged}" in done.stdout
    assert "on 6 images" in done.stdout
    done = run_cli(PREDICT, root / "images", check=False)
    assert f"warning: {damaged} cannot be read: not an image" in done.stderr


def test_predict_draws_and_lists_boxes(run_cli, detector_workdir, squares_folder, tmp_path):
    photos = tmp_path / "photos"
    (photos / "in").mkdir(parents=True)
    shutil.copy(squares_folder / "images" / "3.png", photos / "in" / "3.png")
    Image.new("RGB", (50, 80), (128, 128, 128)).save(photos / "grey.jpg")
    (photos / "text.jpg").write_text("no image")
    output = tmp_path / "found"
    flags = (f"--model={detector_workdir}", f"--output={output}", "--score=0.01", "--format=csv")
    done = run_cli(PREDICT, *flags, photos)
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
    done = run_cli(
        PREDICT, f"--model={detector_workdir}", f"--output={photos}", photos, check=False
    )
    assert done.returncode == 1 and "would be replaced by a picture" in done.stderr
    assert (photos / "grey.jpg").read_bytes() == before


@pytest.mark.slow
def test_a_killed_run_resumes_bit_identically(run_cli, detector_workdir, squares_folder, tmp_path):
    workdir = tmp_path / "w"
    flags = ["--recipe=detection", "--input_size=64", "--neck=fused", "--neck_width=16"]
    flags += ["--batch_size=4", "--steps=4", "--checkpoint_every=2", "--eval_split=train"]
    flags += [f"--data_dir={squares_folder}", f"--workdir={workdir}", "--resume"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", TRAIN, *flags], env=env)
    checkpoint, started = workdir / "checkpoints" / "ckpt-2.index", time.monotonic()
    while not checkpoint.exists():
        assert process.poll() is None and time.monotonic() - started < 250
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (workdir / "model.keras").exists()
    assert "at step 2 of 4" in run_cli(TRAIN, *flags).stdout
    folders = (detector_workdir, workdir)
    models = [keras_shufflenet.load_model(folder / "model.keras") for folder in folders]
    for mine, theirs in zip(*(model.variables for model in models), strict=True):
        assert mine.numpy().tobytes() == theirs.numpy().tobytes()


def test_weights_and_workdirs_of_another_kind_are_refused(
    run_cli, detector_workdir, trained_workdir, squares_folder, tmp_path
):
    with pytest.raises(UserError, match="is a detector's training; name a classifier's"):
        make_config("finetune", "w", {"weights": str(detector_workdir), "data_dir": "x"})
    # A detector's whole network is taken over.
    made = make_config("detection", "w", {"weights": str(detector_workdir), "data_dir": "x"})
    assert (made.detection.neck, made.images.input_size) == ("fused", 64)
    # A classifier's network of small images has no such maps.
    data = (f"--data_dir={squares_folder}", "--eval_split=train")
    flags = (f"--weights={trained_workdir}", *data)
    done = run_cli(TRAIN, "--recipe=detection", *flags, f"--workdir={tmp_path / 'w'}", check=False)
    assert done.returncode == 1 and "--small_images is for classifiers" in done.stderr
    # A classifier's file in a detector's workdir.
    mixed = tmp_path / "mixed"
    shutil.copytree(detector_workdir, mixed)
    shutil.copy(trained_workdir / "model.keras", mixed / "model.keras")
    done = run_cli(EVALUATE, f"--model={mixed}", f"--output={tmp_path}", check=False)
    assert done.returncode == 1 and "is no detector" in done.stderr, done.stderr
