import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from common.cli import UserError
from common.files import sha256
from trainers.prediction.classifier import Network, load_network, open_classifier, softmax
from trainers.settings import ImageConfig

HOSTILE = Path(__file__).resolve().parents[4] / "shared/fixtures/hostile"
IMAGES = ImageConfig(input_size=32)
LOGITS = np.array([[1.0, 2.0, 4.0], [1000.0, 0.0, -1000.0]], np.float32)


def network(outputs, gives_probabilities):
    return Network(Path("x"), (1, 2), (1, 3), lambda inputs: outputs, gives_probabilities)


def test_softmax():
    wanted = [np.exp([1.0, 2, 4]) / np.exp([1.0, 2, 4]).sum(), [1, 0, 0]]
    np.testing.assert_allclose(softmax(LOGITS), wanted, rtol=1e-6)


def test_probabilities_are_not_taken_for_logits():
    shares = softmax(LOGITS)
    of_shares, of_logits = network(shares, True), network(LOGITS, False)
    np.testing.assert_array_equal(of_shares.probabilities(None), shares)
    np.testing.assert_allclose(of_logits.probabilities(None), shares)
    np.testing.assert_array_equal(of_logits.logits(None), LOGITS)
    assert np.isfinite(of_shares.logits(None)).all()
    np.testing.assert_allclose(softmax(of_shares.logits(None)), shares, atol=1e-6)


@pytest.mark.parametrize("ending", ["activation", "layer", "nested", "none"])
def test_a_softmax_is_removed(tmp_path, ending):
    x = inputs = keras.Input((32, 32, 1))
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(3, activation="softmax" if ending == "activation" else None)(x)
    if ending in ("layer", "nested"):
        x = keras.layers.Softmax()(x)
    model = keras.Model(inputs, x)
    if ending == "nested":
        outer = keras.Input((32, 32, 1))
        model = keras.Model(outer, model(outer))
    model.save(tmp_path / "model.keras")
    found = load_network(tmp_path / "model.keras", IMAGES, 3)
    assert not found.gives_probabilities
    images = np.random.default_rng(0).normal(size=(5, 32, 32, 1)).astype(np.float32)
    np.testing.assert_allclose(found.probabilities(images).sum(axis=1), np.ones(5), rtol=1e-5)
    expected = model.predict(images, verbose=0)
    found = found.outputs(images) if ending == "none" else found.probabilities(images)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"weights\.h5 is not a model"):
        load_network(tmp_path / "weights.h5", IMAGES, 3)


def test_an_artifact_s_file_computes_what_the_workdir_s_model_computes(
    trained_workdir, artifact_dir
):
    images = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 1), np.uint8)
    keras_ = open_classifier(trained_workdir, trained_workdir)
    lite = open_classifier(artifact_dir / "deployment_float32.tflite", None)
    assert keras_.labels == lite.labels == [str(digit) for digit in range(10)]
    for name in ("resize_size", "input_size", "channels"):
        assert getattr(keras_, name) == getattr(lite, name)
    np.testing.assert_allclose(lite.probabilities(images), keras_.probabilities(images), atol=1e-5)
    assert open_classifier(artifact_dir, None).network.path.name == "deployment_int8_ptq.tflite"


def stored(path):
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def artifact_with(tflite, side, folder):
    """An artifact of one file for grey images of ten classes, whose writer vouches for it."""
    folder.mkdir()
    labels, path = folder / "labels.txt", folder / tflite.name
    labels.write_text("".join(f"{n}\n" for n in range(10)))
    shutil.copy(tflite, path)
    shape = [1, side, side, 1]
    tensors = {"input": {"shape": shape}, "output": {"shape": [1, 10]}, "operators": {}}
    manifest = {
        **{"schema_version": 1, "name": "net", "model": {}, "training": {"resize_size": side}},
        **{"classes": 10, "labels": stored(labels), "samples": None},
        "input": {"shape": shape, "preprocessing": {"scale": [1.0], "offset": [0.0]}},
        "files": {
            path.name: {
                **{"graph": "deployment", "quantization": "int8-ptq", **tensors},
                **stored(path),
            }
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="needs the shared fixtures")
@pytest.mark.parametrize(
    ("name", "side", "reason"),
    [
        ("segv", 32, r"ended the process that ran it \(SIGSEGV\)"),
        # Its operators are read first; one that would run on is in tests/common/tflite.
        ("loop", 8, "has 3 subgraphs, but a network for a device has one"),
        ("noinputs", 32, "is damaged or not supported"),
    ],
)
def test_an_artifact_s_hostile_file_is_named(tmp_path, name, side, reason):
    folder = artifact_with(HOSTILE / f"{name}.tflite", side, tmp_path / "artifact")
    with pytest.raises(UserError, match=rf"{name}\.tflite {reason}"):
        open_classifier(folder, None).probabilities(np.zeros((1, side, side, 1), np.uint8))
