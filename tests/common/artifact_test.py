import io
import json
import shutil
import zipfile

import numpy as np
import pytest

from common.artifact import Artifact, takes_pixels
from common.cli import UserError
from common.files import sha256
from keras_shufflenet import preprocess_input

FILES = ("labels.txt", "deployment_float32.tflite", "deployment_int8_ptq.tflite", "samples.npz")


@pytest.fixture
def folder(artifact_dir, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(artifact_dir, tmp_path / "artifact")


def vouch_for(folder, name):
    """Makes the manifest agree with a changed file, as a hostile writer would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["files"].get(name) or manifest[name.split(".")[0]]
    path = folder / name
    entry.update(sha256=sha256(path), bytes=path.stat().st_size)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=True)
    return file.getvalue()


def test_artifact_is_read(artifact_dir):
    artifact = Artifact.open(str(artifact_dir))
    assert artifact.name == "shufflenet_v2_0.5x"
    assert sorted(artifact.files) == ["deployment_float32.tflite", "deployment_int8_ptq.tflite"]
    assert (len(artifact.labels), artifact.input_shape) == (10, (1, 32, 32, 1))
    images, labels = artifact.samples()
    assert (images.shape, images.dtype) == ((100, 32, 32, 1), np.uint8)
    assert (labels.shape, labels.dtype) == ((100,), np.int32)
    assert len(artifact.samples(limit=7)[0]) == len(artifact.samples(limit=7)[1]) == 7


def test_the_share_of_the_crop_travels_with_the_files(artifact_dir):
    assert Artifact.open(artifact_dir).image_input["crop_share"] == 1.0


def test_preprocessing_equals_that_of_the_training(artifact_dir):
    artifact = Artifact.open(artifact_dir)
    images, _ = artifact.samples()
    expected = preprocess_input(images, mode=artifact.manifest["training"]["preprocessing"])
    np.testing.assert_allclose(artifact.preprocess(images), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["deployment_float32.tflite", "deployment_int8_ptq.tflite"])
def test_manifest_tells_the_accuracy_and_tensors_of_each_file(artifact_dir, name):
    artifact = Artifact.open(artifact_dir)
    images, labels = artifact.samples()
    model = artifact.load(name)
    entry = artifact.files[name]
    # A hundred samples were asked for, and the check used these hundred.
    assert entry["accuracy_images"] == 100
    accuracy = (model.predict(artifact.preprocess(images)).argmax(axis=-1) == labels).mean()
    assert accuracy == pytest.approx(entry["accuracy"], abs=1e-9)
    (source,) = entry["inputs"]
    assert source["dtype"] == model.input_dtype.name
    if model.input_quantization is not None:
        assert (source["scale"], source["zero_point"]) == model.input_quantization


def test_older_artifacts_have_the_resize_size_among_the_training_s_settings(folder):
    assert Artifact.open(folder).resize_size == 32
    manifest = json.loads((folder / "manifest.json").read_text())
    for key in ("channels", "orientation", "resize", "crop"):
        del manifest["inputs"][0][key]
    manifest["training"]["resize_size"] = 40
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert Artifact.open(folder).resize_size == 40
    del manifest["training"]["resize_size"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="does not say how images are resized; convert again"):
        _ = Artifact.open(folder).resize_size


def test_the_default_file_is_the_one_for_devices(tmp_path):
    def default(*kinds):
        entries = {
            f"{graph}_{quantization}.tflite": {"graph": graph, "quantization": quantization}
            for graph, quantization in kinds
        }
        return Artifact(tmp_path, {"files": entries}, []).default_file()

    ptq, qat = ("deployment", "int8-ptq"), ("deployment", "int8-qat")
    float32, canonical = ("deployment", "none"), ("canonical", "int8-ptq")
    assert default(canonical, float32, ptq, qat) == "deployment_int8-qat.tflite"
    assert default(canonical, float32, ptq) == "deployment_int8-ptq.tflite"
    assert default(canonical, float32) == "deployment_none.tflite"
    assert default(canonical) == "canonical_int8-ptq.tflite"


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "offset", "taken"),
    [
        ("uint8", 2 / 255, 128, -1.0, True),
        ("uint8", 2 / 255, 127, -1.0, True),
        ("uint8", 1.5 / 255, 170, -1.0, False),  # dark images were calibrated with
        ("uint8", 2 / 255, 128, -0.9, False),
        ("int8", 2 / 255, 0, -1.0, False),
        ("float32", None, None, -1.0, False),
    ],
)
def test_inputs_that_take_pixels(dtype, scale, zero_point, offset, taken):
    entry = {"dtype": dtype, "scale": scale, "zero_point": zero_point}
    assert takes_pixels(entry, {"scale": [1 / 127.5], "offset": [offset]}) == taken


def test_unknown_file_lists_the_known(artifact_dir):
    with pytest.raises(UserError, match=r"no file 'x'; it has deployment_float32\.tflite, "):
        Artifact.open(artifact_dir).load("x")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_flipped_bit_is_refused_by_name(folder, name, place):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name} does not match its hash"):
        Artifact.open(folder)


@pytest.mark.parametrize("name", FILES)
def test_missing_longer_and_shorter_files_are_refused_by_name(folder, name):
    path = folder / name
    content = path.read_bytes()
    for changed in (content + b"\0", content[:-1]):
        path.write_bytes(changed)
        with pytest.raises(UserError, match=f"{name} has {len(changed)} bytes"):
            Artifact.open(folder)
    path.unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        Artifact.open(folder)


@pytest.mark.parametrize("name", FILES)
def test_links_are_refused_by_name(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{name} is missing or not a plain file"):
        Artifact.open(folder)


def test_labels_must_be_as_many_as_classes(folder):
    (folder / "labels.txt").write_text("zero\none\n")
    vouch_for(folder, "labels.txt")
    with pytest.raises(UserError, match=r"labels\.txt has 2 labels for 10 classes"):
        Artifact.open(folder)


def test_another_model_in_the_place_of_a_file_is_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["inputs"][0]["shape"] = [1, 64, 64, 1]
    manifest["samples"] = None
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"deployment_int8_ptq\.tflite maps \(1, 32, 32, 1\)"):
        Artifact.open(folder).load("deployment_int8_ptq.tflite")


def test_no_samples_is_none(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["samples"] = None
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert Artifact.open(folder).samples() is None


IMAGES = np.zeros((100, 32, 32, 1), np.uint8)
LABELS = np.zeros(100, np.int32)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"images.npy": npy(IMAGES)}, "labels"),
        ({"images.npy": npy(IMAGES[:50]), "labels.npy": npy(LABELS)}, "images is uint8 of shape"),
        ({"images.npy": npy(np.float32(IMAGES)), "labels.npy": npy(LABELS)}, "images is float32"),
        ({"images.npy": npy(IMAGES), "labels.npy": npy(LABELS + 10)}, "beyond the classes"),
        ({"images.npy": npy(IMAGES), "labels.npy": npy(LABELS - 1)}, "beyond the classes"),
        ({"images.npy": npy(IMAGES.astype(object)), "labels.npy": npy(LABELS)}, "images is object"),
        # The header promises more than there is.
        ({"images.npy": npy(IMAGES)[:-9], "labels.npy": npy(LABELS)}, "unusable"),
        ({"images.npy": b"", "labels.npy": npy(LABELS)}, "unusable"),
    ],
)
def test_hostile_samples_are_refused_by_name(folder, members, message):
    with zipfile.ZipFile(folder / "samples.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    vouch_for(folder, "samples.npz")
    with pytest.raises(UserError, match=rf"samples\.npz.*{message}"):
        Artifact.open(folder).samples()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", npy(IMAGES)])
def test_samples_that_are_no_archive_are_refused_by_name(folder, content):
    (folder / "samples.npz").write_bytes(content or b" ")
    vouch_for(folder, "samples.npz")
    with pytest.raises(UserError, match=r"samples\.npz is unusable"):
        Artifact.open(folder).samples()
