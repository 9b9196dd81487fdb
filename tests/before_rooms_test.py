"""Files from before the folders had rooms are read as before (fixtures/before_rooms.tar.xz).

Made by the commit before the move: networks as files with their outputs for seeded noise, the
workdir of a training of 6 steps with its quantization-aware training, the same training
interrupted at step 3, and an artifact of it.
"""

import shutil
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_shufflenet
from common.artifact import Artifact
from common.tflite.flatbuffer import pack, unpack

pytestmark = pytest.mark.medium

ARCHIVE = Path(__file__).with_name("fixtures") / "before_rooms.tar.xz"
WIDTHS = {"classes": 3, "stem_channels": 4, "units_per_stage": (2, 2, 2)}


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "before_rooms"


@pytest.fixture
def noise():
    return np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_keras_files(before, noise, name):
    model = keras.saving.load_model(before / f"{name}.keras")
    with np.load(before / "outputs.npz") as outputs:
        np.testing.assert_allclose(model.predict(noise, verbose=0), outputs[name], atol=1e-6)
    assert keras_shufflenet.preprocessing_of(model) == {"v1": "torch", "v2": "tf"}[name]


def test_weights_files(before, noise):
    v1 = keras_shufflenet.ShuffleNetV1(
        groups=2, input_shape=(32, 32, 3), stage_channels=(8, 16, 24),
        weights=str(before / "v1.weights.h5"), **WIDTHS,
    )  # fmt: skip
    v2 = keras_shufflenet.ShuffleNetV2(
        input_shape=(32, 32, 3), small_images=True, stage_channels=(8, 16, 16), head_channels=16,
        weights=str(before / "v2.weights.h5"), **WIDTHS,
    )  # fmt: skip
    with np.load(before / "outputs.npz") as outputs:
        for name, model in (("v1", v1), ("v2", v2)):
            np.testing.assert_allclose(model.predict(noise, verbose=0), outputs[name], atol=1e-6)


@pytest.mark.slow
def test_a_training_is_resumed(before, run_cli, tmp_path):
    shutil.copy(before / "net.keras", tmp_path)
    shutil.copytree(before / "interrupted", tmp_path / "work")
    done = run_cli("trainers.train", "--workdir=work", "--resume")
    assert "resuming work at step 3 of 6" in done.stdout
    wanted = keras.saving.load_model(before / "workdir/model.keras")
    resumed = keras.saving.load_model(tmp_path / "work/model.keras")
    for ours, theirs in zip(resumed.weights, wanted.weights, strict=True):
        # Bit-identical on the machine that wrote it; other CPUs add up in another order.
        np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=ours.path)


def test_an_artifact_is_read_and_computes_the_same(before):
    artifact = Artifact.open(before / "artifact")
    images, labels = artifact.samples()
    assert (len(images), len(labels), artifact.labels[3]) == (8, 8, "3")
    logits = {
        name: artifact.load(name).predict(artifact.preprocess(images)) for name in artifact.files
    }
    assert len(logits) == 4
    trained = keras.saving.load_model(before / "workdir/model.keras")
    wanted = trained.predict(artifact.preprocess(images), verbose=0)
    for name, found in logits.items():
        atol = 1e-5 if "float32" in name else 0.05 * wanted.std()
        np.testing.assert_allclose(found, wanted, atol=atol, err_msg=name)


def without_metadata(content):
    """A file as it was before metadata was added to it; packed again, as adding does."""
    model = unpack(content)
    assert model.metadata.pop().name == b"TFLITE_METADATA"
    model.buffers.pop()
    return pack(model)


@pytest.mark.slow
def test_a_workdir_and_its_quantization_aware_training_are_converted(before, run_cli, tmp_path):
    shutil.copytree(before / "workdir", tmp_path / "work")
    run_cli(
        "converters.convert", "--model=work", "--output=artifact", "--samples=8",
        "--quantization=none,int8-ptq,int8-qat",
    )  # fmt: skip
    float32 = (before / "artifact/deployment_float32.tflite").read_bytes()
    converted = (tmp_path / "artifact/deployment_float32.tflite").read_bytes()
    assert without_metadata(converted) == pack(unpack(float32))
    assert (tmp_path / "artifact/deployment_int8_qat.tflite").stat().st_size > 20_000
