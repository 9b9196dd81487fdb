"""The quantize command with a user's own `.keras` file: a training, its conversion, refusals."""

import json
import re

import keras
import pytest

from common.artifact import Artifact

pytestmark = pytest.mark.medium

L = keras.layers
QUANTIZE = "converters.quantize"
LABELS = ["two", "zero", "one"]


@pytest.fixture
def classifier(tmp_path, digits_folder):
    """A trained `net.keras` with a softmax, whose classes are not in the folders' order."""
    (tmp_path / "names.txt").write_text("".join(f"{name}\n" for name in LABELS))
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            L.Rescaling(1 / 127.5, offset=-1),
            L.Conv2D(8, 4, strides=4, activation="relu"),
            L.Flatten(),
            L.Dense(3, activation="softmax"),
        ],
        name="net",
    )
    images = keras.utils.image_dataset_from_directory(
        digits_folder / "train", class_names=LABELS, image_size=(32, 32), seed=0, verbose=False
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images, epochs=8, verbose=0)
    model.save(tmp_path / "net.keras")
    return tmp_path / "net.keras"


def test_a_keras_file_is_trained_and_converted(run_cli, classifier, digits_folder, tmp_path):
    data = [f"--data_dir={digits_folder}", "--labels=names.txt"]
    flags = ["--model=net.keras", *data, "--steps=2", "--calibration_images=64"]
    done = run_cli(QUANTIZE, *flags)
    assert "the model is net_qat/fake_quant.weights.h5" in done.stdout
    start = json.loads((tmp_path / "net_qat/metrics.jsonl").read_text().splitlines()[0])
    assert start["step"] == 0 and start["top1"] > 0.9
    assert (tmp_path / "net_qat/labels.txt").read_text().split() == LABELS

    convert = ["--output=artifact", "--quantization=int8-qat", "--samples=30"]
    run_cli("converters.convert", "--model=net.keras", *data, *convert)
    artifact = Artifact.open(tmp_path / "artifact")
    assert artifact.labels == LABELS
    (entry,) = json.loads((tmp_path / "artifact/manifest.json").read_text())["files"].values()
    assert entry["accuracy"] > 0.9 and entry["agreement"]["argmax"] > 0.9
    assert (entry["quantization"], entry["ranges"]) == ("int8-qat", "mse")

    # In the folders' order the numbers of the classes would mean others.
    done = run_cli("converters.convert", "--model=net.keras", data[0], *convert[1:], "--output=b",
                   check=False)  # fmt: skip
    assert "net_qat was trained with other classes: another order: number 1 is 'one'" in done.stderr
    done = run_cli(QUANTIZE, "--model=net.keras", "--resume", "--crop_share=0.5", check=False)
    assert "other values (crop_share: 1.0 → 0.5)" in done.stderr
    assert "at step 2 of 2" in run_cli(QUANTIZE, "--model=net.keras", "--resume").stdout
    done = run_cli(QUANTIZE, *flags, check=False)
    assert "net_qat already holds a finished run" in done.stderr
    classifier.write_bytes(classifier.read_bytes() + b" ")
    done = run_cli(QUANTIZE, "--model=net.keras", "--resume", check=False)
    assert "net.keras has changed since net_qat was trained from it" in done.stderr


def small(size=32, **layer):
    image = keras.Input((size, size, 3))
    x = L.GlobalAveragePooling2D()(image)
    return image, L.Dense(3, name="kind", **layer)(x)


def several():
    image, kind = small()
    return keras.Model(image, [kind, L.Dense(1, name="age")(kind)])


@pytest.mark.parametrize(
    ("build", "flags", "message"),
    [
        (several, [], r"gives kind \(None, 3\), age \(None, 1\); .*converters.quantization_aware"),
        (
            lambda: keras.Model(*small(activation="sigmoid")),
            [],
            "net.keras ends with sigmoid, .*converters.quantization_aware",
        ),
        (lambda: keras.Model(*small(28)), [], "takes images of 28 pixels, .*quantization_aware"),
        (lambda: keras.Model(*small()), [], "say it with --preprocessing"),
        (
            lambda: keras.Model(*small()),
            ["--labels=two.txt", "--preprocessing=tf"],
            "2 class names are given .*, but output 'kind' has 3 classes",
        ),
        (lambda: keras.Model(*small()), ["--data_dir="], "--data_dir is missing; net.keras is"),
    ],
    ids=["several outputs", "sigmoid", "small", "unknown pixels", "two names", "no photographs"],
)
def test_what_cannot_be_trained_is_named(run_cli, digits_folder, tmp_path, build, flags, message):
    build().save(tmp_path / "net.keras")
    (tmp_path / "two.txt").write_text("cat\ndog\n")
    data = f"--data_dir={digits_folder}"
    done = run_cli(QUANTIZE, "--model=net.keras", data, *flags, check=False)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert re.search(message, line), line
    assert not (tmp_path / "net_qat").exists()


def test_flags_of_a_file_are_not_for_a_workdir(run_cli):
    done = run_cli(QUANTIZE, "--model=work", "--preprocessing=tf", check=False)
    assert "--preprocessing is for a .keras file; the workdir work says it itself" in done.stderr
