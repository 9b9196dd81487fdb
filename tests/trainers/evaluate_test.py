"""How accuracy is counted, and the evaluate command as a user types it."""

import csv
import json
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from common.cli import UserError
from trainers import evaluation
from trainers.networks.models import build_model, load_model, save_model
from trainers.recipes import make_config

EVALUATE = "trainers.evaluate"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A training's workdir, with random weights."""
    folder = tmp_path_factory.mktemp("work")
    config = make_config("digits", str(folder), {})
    keras.utils.set_random_seed(0)
    save_model(build_model(config.network, config.images, 1, 10), folder / "model.keras")
    config.save(folder)
    (folder / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    return folder


@pytest.fixture
def copy(workdir, tmp_path):
    """A workdir that a test may damage."""
    return shutil.copytree(workdir, tmp_path / "copy")


def refused(done, pattern):
    assert done.returncode == 1, done
    assert re.search(rf"^error: .*{pattern}", done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr


def test_a_workdir_is_evaluated(run_cli, workdir, tmp_path):
    done = run_cli(EVALUATE, f"--model={workdir}", "--split=test[:100]", "--output=out")
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (scores["images"], scores["skipped_images"], scores["split"]) == (100, 0, "test[:100]")
    correct = sum(each["correct"] for each in scores["classes"].values())
    assert scores["top1"] == correct / 100
    assert scores["top1"] <= scores["top5"] <= 1
    assert f"top-1 {scores['top1']:.2%}" in done.stdout
    table = (tmp_path / "out" / "confusion.txt").read_text()
    assert table in done.stdout + "\n"
    assert len(table.splitlines()) == 11
    with Image.open(tmp_path / "out" / "confusion.png") as picture:
        assert picture.format == "PNG"
    assert "top-5" not in done.stdout
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [str(index) for index in range(100)]
    assert sum(row["label"] == row["guess"] for row in rows) == correct
    for row in rows:
        shares = {str(digit): float(row[f"p_{digit}"]) for digit in range(10)}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        assert shares[row["guess"]] == max(shares.values()) == float(row["probability"])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"top-1 {scores['top1']:.2%}" in page
    assert page.count("data:image/png") == min(24, 100 - correct)


def test_the_images_of_a_folder_are_counted_and_what_is_skipped_named(
    run_cli, digits_folder, tmp_path
):
    root = shutil.copytree(digits_folder, tmp_path / "images")
    (root / "test" / "one" / "notes.txt").write_text("no image")
    (root / "test" / "two" / "broken.jpg").write_bytes(b"no picture at all")
    workdir = tmp_path / "work"
    workdir.mkdir()
    values = {"data_dir": str(root), "input_size": 32, "crop_share": 1.0, "scale": 0.5}
    config = make_config("folder", str(workdir), values)
    keras.utils.set_random_seed(0)
    save_model(build_model(config.network, config.images, 3, 3), workdir / "model.keras")
    config.save(workdir)
    (workdir / "labels.txt").write_text("one\ntwo\nzero\n")
    said = run_cli(EVALUATE, f"--model={workdir}").stdout
    assert "test: 30 images in 3 classes (one 10, two 10, zero 10)" in said
    assert f"skipped in {root}: 1 .txt" in said
    assert "skipped in split 'test': 1 that cannot be decoded" in said
    # That is for who trains.
    assert "are grey" not in said and "top-5" not in said


def test_a_tflite_scores_like_its_keras_model(run_cli, trained_workdir, artifact_dir, tmp_path):
    path = artifact_dir / "deployment_float32.tflite"
    run_cli(EVALUATE, f"--model={path}", f"--workdir={trained_workdir}", "--output=lite")
    run_cli(EVALUATE, f"--model={trained_workdir}", "--output=keras")
    lite, reference = (
        json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("lite", "keras")
    )
    assert lite["images"] == reference["images"] == 360
    assert lite["classes"] == reference["classes"]
    assert lite["loss"] == pytest.approx(reference["loss"], rel=1e-4)


def test_an_artifact_says_itself_what_it_is_and_where_its_data_is(
    run_cli, trained_workdir, artifact_dir, tmp_path
):
    file = "deployment_int8_ptq.tflite"
    done = run_cli(EVALUATE, f"--model={artifact_dir}")
    assert f"{artifact_dir / file} on 360 images of test" in done.stdout
    flags = [f"--model={artifact_dir / file}", f"--workdir={trained_workdir}", "--output=known"]
    run_cli(EVALUATE, *flags)
    places = [tmp_path / place for place in ("evaluation", "known")]
    alone, known = ((place / "predictions.csv").read_text() for place in places)
    assert alone == known
    alone, known = (json.loads((place / "evaluation.json").read_text()) for place in places)
    # The losses of batches, whose sizes differ, are added up.
    assert alone.pop("loss") == pytest.approx(known.pop("loss"), rel=1e-7)
    assert alone == known


def test_an_artifact_is_not_evaluated_on_other_classes(run_cli, artifact_dir, digits_folder):
    flags = [f"--model={artifact_dir}", f"--data_dir={digits_folder}"]
    refused(
        run_cli(EVALUATE, *flags, check=False),
        rf"{digits_folder} has other classes than {artifact_dir}/labels\.txt: '0', '1', .* missing",
    )


def test_non_finite_outputs_are_named(run_cli, copy):
    model = load_model(copy / "model.keras")
    model.get_layer("predictions").bias.assign([np.nan, *range(9)])
    save_model(model, copy / "model.keras")
    done = run_cli(EVALUATE, f"--model={copy}", check=False)
    refused(done, r"model\.keras gives non-finite numbers; train it again")


def test_a_model_with_other_classes_is_refused(run_cli, copy):
    (copy / "labels.txt").write_text("cat\ndog\n")
    done = run_cli(EVALUATE, f"--model={copy}", check=False)
    refused(done, r"model\.keras has 10 classes, but labels\.txt has 2")


def test_labels_in_another_order_are_refused(run_cli, copy):
    (copy / "labels.txt").write_text("".join(f"{digit}\n" for digit in (1, 0, *range(2, 10))))
    done = run_cli(EVALUATE, f"--model={copy}", check=False)
    refused(done, r"digits has other classes than .*: another order: number 1 is '0', not '1'")


def with_softmax(model):
    return keras.Model(model.input, keras.layers.Softmax()(model.output))


def test_a_softmax_at_the_end_does_not_change_the_loss(run_cli, copy, tmp_path):
    model = load_model(copy / "model.keras")
    # Confident and mostly wrong: read as logits, its probabilities would give a loss of about 2.
    model.get_layer("predictions").bias.assign(np.linspace(0, 12, 10))
    save_model(model, copy / "model.keras")
    with_softmax(model).save(copy / "soft.keras")
    function = tf.function(lambda image: with_softmax(model)(image, training=False))
    traced = function.get_concrete_function(tf.TensorSpec((1, 32, 32, 1)))
    lite = tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()
    (copy / "soft.tflite").write_bytes(lite)
    losses = []
    for name in ("model.keras", "soft.keras", "soft.tflite"):
        run_cli(EVALUATE, f"--model={copy / name}", "--split=test[:50]", f"--output={name}")
        losses.append(json.loads((tmp_path / name / "evaluation.json").read_text())["loss"])
    assert losses[0] > 5
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] == pytest.approx(losses[0], rel=1e-3)


def test_a_truncated_tflite_is_refused(run_cli, workdir, tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(50))
    flags = ["--model=model.tflite", f"--workdir={workdir}", "--output=out"]
    refused(run_cli(EVALUATE, *flags, check=False), r"model\.tflite")


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        ([], r"--model is missing"),
        (["--model=x.tflite"], r"x\.tflite does not exist; name a workdir"),
        (["--model=x", "--workdir=y"], r"y is not a training folder"),
    ],
)
def test_wrong_flags_are_refused(run_cli, flags, pattern):
    refused(run_cli(EVALUATE, *flags, check=False), pattern)


@pytest.mark.parametrize("share", [0, 0.1, 0.9])
def test_a_truncated_keras_file_is_refused(copy, share):
    path = copy / "model.keras"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded as a Keras model"):
        load_model(path)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.keras does not exist"):
        load_model(tmp_path / "gone.keras")


def test_saving_leaves_no_temporary_files(copy):
    model = load_model(copy / "model.keras")
    save_model(model, copy / "best.keras")
    assert {p.name for p in copy.iterdir()} == {
        "best.keras", "config.json", "labels.txt", "model.keras",
    }  # fmt: skip
    for mine, theirs in zip(model.weights, load_model(copy / "best.keras").weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def batch(count, classes, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, classes)).astype(np.float32)
    return logits, rng.integers(0, classes, count), np.ones(count, np.float32)


def test_scores_are_numpys():
    parts = [batch(40, 10, seed=s) for s in range(3)]
    scores = evaluation.summarize(evaluation.count(*map(tf.constant, part)) for part in parts)
    logits, labels, _ = map(np.concatenate, zip(*parts, strict=True))
    ranks = (-logits).argsort(axis=1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (labels, ranks[:, 0]), 1)
    assert scores.images == 120
    assert scores.top1 == (ranks[:, 0] == labels).mean()
    assert scores.top5 == (ranks[:, :5] == labels[:, None]).any(axis=1).mean()
    assert scores.loss == pytest.approx(-np.log(probabilities[range(120), labels]).mean(), rel=1e-5)
    np.testing.assert_array_equal(scores.confusion, confusion)


def test_padding_does_not_count():
    logits, labels, weights = batch(30, 10)
    filled = (
        np.concatenate([logits, np.zeros((7, 10), np.float32)]),
        np.concatenate([labels, np.zeros(7, np.int64)]),
        np.concatenate([weights, np.zeros(7, np.float32)]),
    )
    plain = evaluation.summarize([evaluation.count(*map(tf.constant, (logits, labels, weights)))])
    with_filling = evaluation.summarize([evaluation.count(*map(tf.constant, filled))])
    np.testing.assert_array_equal(plain.confusion, with_filling.confusion)
    assert (plain.top1, plain.top5, plain.images) == (
        with_filling.top1,
        with_filling.top5,
        with_filling.images,
    )
    assert plain.loss == pytest.approx(with_filling.loss, rel=1e-6)


def test_top5_of_three_classes_is_everything():
    scores = evaluation.summarize([evaluation.count(*map(tf.constant, batch(20, 3)))])
    assert scores.top5 == 1
