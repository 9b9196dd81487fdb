"""The command predict, as a user types it."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from common.artifact import Artifact
from common.included import included_artifact

PREDICT = "trainers.predict"
COUNT = 40


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Digits as files, LABEL_NUMBER.png in nested folders, and two files that are no images."""
    folder = tmp_path_factory.mktemp("photos")
    images, labels = load_digits(return_X_y=True)
    (folder / "in" / "deep").mkdir(parents=True)
    for index in range(COUNT):
        image = np.uint8(images[index].reshape(8, 8) * (255 / 16))
        place = folder if index % 2 else folder / "in" / "deep"
        Image.fromarray(image).save(place / f"{labels[index]}_{index}.png")
    (folder / "text.png").write_text("no image")
    # Of a class that the model does not know.
    Image.new("RGB", (50, 60), (200, 10, 10)).save(folder / "in" / "tomato.jpg")
    return folder


def predictions(done):
    return {row["file"].rpartition("/")[2]: row for row in csv.DictReader(done.stdout.splitlines())}


def test_a_workdir_an_artifact_and_a_keras_file_say_the_same(
    run_cli, photos, trained_workdir, artifact_dir
):
    found = {}
    for name, model in {
        "workdir": trained_workdir,
        "keras": trained_workdir / "model.keras",
        "artifact": artifact_dir,
    }.items():
        done = run_cli(PREDICT, f"--model={model}", "--format=csv", "--top=3", photos)
        assert f"warning: {photos}/text.png cannot be read: not an image" in done.stderr
        found[name] = predictions(done)
        assert len(found[name]) == COUNT + 1
    assert found["workdir"] == found["keras"]
    right = [row["class"] == name[0] for name, row in found["workdir"].items() if "_" in name]
    assert np.mean(right) >= 0.9
    same = [
        row["class"] == found["artifact"][name]["class"] for name, row in found["keras"].items()
    ]
    assert np.mean(same) >= 0.95
    for row in found["workdir"].values():
        shares = [float(row[f"probability{end}"]) for end in ("", "_2", "_3")]
        assert 1 >= shares[0] >= shares[1] >= shares[2] >= 0


def test_table_and_json_of_one_file(run_cli, photos, artifact_dir):
    file, flags = photos / "in" / "tomato.jpg", ["--file=deployment_float32.tflite"]
    table = run_cli(PREDICT, f"--model={artifact_dir}", *flags, file)
    header, row = table.stdout.splitlines()
    assert header.split() == ["file", "class", "probability", "runner-up", "probability"]
    assert row.startswith(str(file))
    assert "deployment_float32.tflite: 10 classes" in table.stderr
    done = run_cli(PREDICT, f"--model={artifact_dir}", "--format=json", "--top=99", *flags, file)
    (only,) = json.loads(done.stdout)["predictions"]
    assert only["file"] == str(file) and len(only["guesses"]) == 10
    assert sum(guess["probability"] for guess in only["guesses"]) == pytest.approx(1, abs=1e-5)
    assert row.split()[1] == only["guesses"][0]["class"]


def test_it_fails_only_if_no_file_can_be_read(run_cli, photos, artifact_dir):
    done = run_cli(PREDICT, f"--model={artifact_dir}", photos / "text.png", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "error: none of the 1 files can be read; name images"


def test_without_a_model_the_example_answers(run_cli, tmp_path):
    artifact = Artifact.open(included_artifact())
    # Blue above and below: whatever it shows, it gets one of the classes.
    Image.new("RGB", (40, 40), (90, 150, 230)).save(tmp_path / "photo.png")
    done = run_cli(PREDICT, "--format=csv", tmp_path / "photo.png")
    (row,) = predictions(done).values()
    assert row["class"] in artifact.labels
    assert "an example that travels with the package" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no image is named"),
        (["--model=gone", "x.png"], "gone does not exist"),
        (["--model=.", "x.png"], ". is not a workdir, a .keras file in one, or an artifact"),
        (["--model=.", "--format=xml", "x.png"], "there is no format 'xml'"),
        (["--model=.", "--top=0", "x.png"], "--top must be at least 1"),
    ],
)
def test_wrong_flags_are_one_line(run_cli, words, message):
    done = run_cli(PREDICT, *words, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {message}") and done.stderr.count("\n") == 1
