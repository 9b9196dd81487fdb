"""`.keras` files by the command: photographs, arrays, and what is asked for when it is unknown."""

import json

import keras
import numpy as np
import pytest

from common.artifact import Artifact
from common.cli import UserError
from converters.source.flags import ModelFlags
from converters.source.opening import open_network
from edge.running.measurement import read_measurements
from trainers.recipes import make_config

L = keras.layers
FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"


def classifier(classes=3, rescaling=True, size=32):
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            *([L.Rescaling(1 / 127.5, offset=-1)] if rescaling else []),
            L.Conv2D(8, 3, strides=2, activation="relu"),
            L.GlobalAveragePooling2D(),
            L.Dense(classes, activation="softmax", name="top"),
        ],
        name="seq",
    )


@pytest.fixture
def saved(tmp_path):
    """`saved(model)` returns the path of a `.keras` file."""

    def save(model):
        model.save(tmp_path / "net.keras")
        return tmp_path / "net.keras"

    return save


def test_photographs_by_the_command(run_cli, saved, digits_folder, tmp_path):
    saved(classifier())
    done = run_cli(
        "converters.convert",
        *("--model=net.keras", f"--data_dir={digits_folder}", "--output=artifact"),
        *("--target=micro", "--samples=20"),
    )
    assert "net.keras" not in done.stderr and "ends with a softmax" in done.stdout
    artifact = Artifact.open(tmp_path / "artifact")
    assert (artifact.name, artifact.task) == ("net", "classification")
    # The folders' names, sorted as Keras and this project sort them.
    assert artifact.labels == ["one", "two", "zero"]
    assert artifact.image_input["preprocessing"]["mode"] == "raw"
    assert artifact.resize_size == 32
    images, labels = artifact.samples()
    assert images.shape == (20, 32, 32, 3) and set(labels) == {0, 1, 2}
    run_cli("edge.benchmark", "--artifact=artifact", f"--files={INT8}", "--runs=2", "--warmup=1")
    (record,) = read_measurements(tmp_path / "measurements.jsonl")
    assert record["accuracy_images"] == 20


def test_arrays_of_another_shape_by_the_command_and_files_measured_alone(run_cli, saved, tmp_path):
    signal = keras.Input((16,), name="signal")
    x = L.Dense(8, activation="relu")(signal)
    saved(keras.Model(signal, L.Dense(2, name="angle")(x), name="sensor"))
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "signals.npz", signal=rng.normal(size=(90, 16)))
    run_cli("converters.convert", "--model=net.keras", "--inputs=signals.npz", "--output=artifact")
    manifest = json.loads((tmp_path / "artifact/manifest.json").read_text())
    assert manifest["task"] == "other" and manifest["inputs"][0]["shape"] == [1, 16]
    assert manifest["samples"]["arrays"].keys() == {"input_0", "output_0"}
    files = f"--files=artifact/{FLOAT},artifact/{INT8}"
    run_cli("edge.benchmark", files, "--runs=2", "--warmup=1")
    records = read_measurements(tmp_path / "measurements.jsonl")
    assert [record["file"] for record in records] == [FLOAT, INT8]
    assert [record["artifact"] for record in records] == [None, None]
    assert records[0]["sha256"] == manifest["files"][FLOAT]["sha256"]


def test_photographs_without_classes_and_named_classes(saved, digits_folder, tmp_path):
    path = saved(classifier())
    flat = digits_folder / "train/one"
    network = open_network(path, str(flat), ModelFlags())
    assert (network.task, network.labels) == ("other", ())
    names = tmp_path / "names.txt"
    names.write_text("zero\none\ntwo\n")
    network = open_network(path, str(digits_folder), ModelFlags(labels=names))
    assert network.labels == ("zero", "one", "two")
    samples = network.evaluation(500)
    assert np.bincount(samples.labels).tolist() == [10, 10, 10]
    assert len(network.calibration(500)[0]) == 120
    names.write_text("zero\none\nthree\n")
    with pytest.raises(UserError, match=r"a class 'two' that .*names.txt does not name"):
        open_network(path, str(digits_folder), ModelFlags(labels=names))


def test_a_file_in_a_workdir_has_the_training_s_classes_and_crop(saved, digits_folder, tmp_path):
    path = saved(classifier())
    values = {"data_dir": str(digits_folder), "input_size": 32, "crop_share": 0.8}
    make_config("folder", str(path.parent), values).save(path.parent)
    labels = path.with_name("labels.txt")
    labels.write_text("zero\ntwo\none\n")
    network = open_network(path, str(digits_folder), ModelFlags())
    assert network.labels == ("zero", "two", "one")
    assert network.inputs[0].photograph["crop_share"] == 0.8
    labels.write_text("zero\ncat\none\n")
    with pytest.raises(UserError, match=rf"a class 'two' that {labels} does not name"):
        open_network(path, str(digits_folder), ModelFlags())


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (classifier, {"data_dir": None}, r"net.keras needs examples .*--data_dir=.*--inputs="),
        (lambda: classifier(rescaling=False), {}, "does not say how pixels .*--preprocessing"),
        (
            lambda: classifier(classes=4),
            {},
            r"3 class names are given \(one, two, zero\), but output 'top' has 4",
        ),
        (lambda: classifier(classes=2), {}, "3 class names are given .* has 2 classes"),
        (classifier, {"data_dir": "nowhere"}, "image folder nowhere does not exist"),
        (lambda: classifier(size=None), {}, "needs a fixed one; give .*--input_size"),
        (classifier, {"outputs": ("side",)}, "no output 'side'; its outputs are top"),
    ],
)
def test_what_is_unknown_is_asked_for(saved, digits_folder, model, given, message):
    data_dir = given.pop("data_dir", str(digits_folder))
    with pytest.raises(UserError, match=message):
        open_network(saved(model()), data_dir, ModelFlags(**given))


def test_a_model_of_any_size_takes_the_size_asked_for(saved, digits_folder):
    path = saved(classifier(size=None))
    network = open_network(path, str(digits_folder), ModelFlags(input_size=24))
    assert network.inputs[0].shape == (24, 24, 3) and network.outputs == ("top",)
    assert network.predict(network.values(network.evaluation(2)))[0].shape == (2, 3)


def test_flags_of_a_keras_file_are_not_for_a_workdir(tmp_path):
    with pytest.raises(UserError, match=r"--preprocessing is for a \.keras file; the workdir"):
        open_network(tmp_path, None, ModelFlags(preprocessing="tf"))


@pytest.mark.parametrize("name", ["net.h5", "saved/saved_model.pb"])
def test_models_in_other_formats_are_named(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    path = file if file.suffix == ".h5" else file.parent
    with pytest.raises(
        UserError, match=rf"{path.name} is neither .*model\.save\(\"{path.stem}.keras"
    ):
        open_network(path, None, ModelFlags(preprocessing="tf"))


class Own(L.Layer):
    """A layer that a command does not know."""


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Own, r"net.keras needs the class 'Own' of your own code.*converters\.convert"),
        (lambda: L.Lambda(lambda x: 2 * x), "net.keras has a Lambda layer, .* keras.ops"),
    ],
)
def test_code_that_no_file_holds_is_named(saved, layer, message):
    path = saved(keras.Sequential([keras.Input((4,)), layer()]))
    with pytest.raises(UserError, match=message):
        open_network(path, None, ModelFlags(inputs=path))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"picture": 1, "labels": 1, "more": 1}, "lacks an array '.*' for that input"),
        (None, "cannot be read .*numpy.savez"),
    ],
)
def test_an_npz_file_that_does_not_fit_is_named(saved, tmp_path, arrays, message):
    path = tmp_path / "x.npz"
    if arrays is None:
        path.write_bytes(b"no archive")
    else:
        np.savez(path, **{name: np.zeros((40, 32, 32, 3)) for name in arrays})
    with pytest.raises(UserError, match=message):
        open_network(saved(classifier()), None, ModelFlags(inputs=path))
