import csv
import io
import os
import subprocess
import zipfile

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import encode, number_types
from PIL import Image

from common.tflite.metadata import Description, add_metadata
from common.tflite.operators import operator_counts

LABELS = ["cat", "dog, brown", "größer"]
DESCRIPTION = Description("net", LABELS, (4, 6, 3), (1 / 127.5,), (-1.0,))


@pytest.fixture(scope="module")
def content():
    """A .tflite file of a small classifier."""
    weights = tf.constant(np.random.default_rng(0).normal(size=(72, 3)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 4, 6, 3), tf.float32)])
    def function(image):
        return tf.matmul(tf.reshape(image, (1, 72)), weights)

    function = function.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()


class Table:
    """A flatbuffer's table, read by the numbers of its fields in metadata_schema.fbs."""

    def __init__(self, data, place):
        self.table = flatbuffers.table.Table(data, place)

    @classmethod
    def root(cls, data):
        return cls(data, encode.Get(number_types.UOffsetTFlags.packer_type, data, 0))

    def place(self, slot):
        return self.table.Pos + self.table.Offset(4 + 2 * slot)

    def at(self, slot):
        return Table(self.table.Bytes, self.table.Indirect(self.place(slot)))

    def text(self, slot):
        return self.table.String(self.place(slot)).decode()

    def only(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        assert self.table.VectorLen(offset) == 1
        start = self.table.Vector(offset)
        return Table(self.table.Bytes, self.table.Indirect(start))

    def number(self, slot, flags):
        return self.table.Get(flags, self.place(slot))

    def floats(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        return self.table.GetVectorAsNumpy(number_types.Float32Flags, offset)


def metadata_of(content):
    model = schema.Model.GetRootAs(content)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    (entry,) = [entry for entry in entries if entry.Name() == b"TFLITE_METADATA"]
    data = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    assert data[4:8] == b"M001"
    return Table.root(data)


@pytest.mark.parametrize(
    ("scale", "offset", "mean", "deviation"),
    [
        ((1 / 127.5,), (-1.0,), [127.5], [127.5]),
        ((1.0,), (0.0,), [0], [1]),
        ((1 / 58.395, 1 / 57.12, 1 / 57.375), (-2.117904, -2.035714, -1.804444),
         [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
    ],
)  # fmt: skip
def test_the_metadata_say_the_normalization_the_names_and_the_size(
    content, scale, offset, mean, deviation
):
    description = Description("net", LABELS, (4, 6, 3), scale, offset)
    root = metadata_of(add_metadata(content, description))
    assert (root.text(0), root.text(7)) == ("net", "1.0.0")
    graph = root.only(3)
    image, logits = graph.only(2), graph.only(3)
    assert (image.text(0), logits.text(0)) == ("image", "logits")
    properties = image.at(3).at(1)
    assert properties.number(0, number_types.Int8Flags) == 1  # RGB
    size = properties.at(1)
    assert [size.number(slot, number_types.Uint32Flags) for slot in (0, 1)] == [6, 4]
    normalization = image.only(4).at(1)
    np.testing.assert_allclose(normalization.floats(0), mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(normalization.floats(1), deviation, rtol=1e-5)
    labels = logits.only(6)
    assert (labels.text(0), labels.number(2, number_types.Int8Flags)) == ("labels.txt", 2)


def test_the_labels_are_in_an_archive_that_is_not_compressed(content):
    with zipfile.ZipFile(io.BytesIO(add_metadata(content, DESCRIPTION))) as archive:
        (entry,) = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert archive.read(entry).decode().splitlines() == LABELS


def test_the_network_is_the_same_and_the_file_always(content, output, tmp_path):
    described = add_metadata(content, DESCRIPTION)
    assert described == add_metadata(content, DESCRIPTION)
    assert len(described) < len(content) + 3000
    image = np.random.default_rng(0).normal(size=(1, 4, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(output(described, image), output(content, image))
    before, after = tmp_path / "before.tflite", tmp_path / "after.tflite"
    before.write_bytes(content)
    after.write_bytes(described)
    assert operator_counts(after) == operator_counts(before)


def test_the_files_of_an_artifact_have_metadata(artifact_dir):
    for path in artifact_dir.glob("*.tflite"):
        image = metadata_of(path.read_bytes()).only(3).only(2)
        assert image.text(0) == "image"
        assert image.at(3).at(1).number(0, number_types.Int8Flags) == 2  # GRAYSCALE
        with zipfile.ZipFile(path) as archive:
            assert archive.read("labels.txt") == (artifact_dir / "labels.txt").read_bytes()


def test_a_microcontroller_s_interpreter_and_vela_take_the_file(artifact_dir):
    from common.artifact import Artifact
    from common.tflite import vela
    from common.tflite.micro_runtime import MicroRuntime

    pytest.importorskip("tflite_micro", reason="needs the extra micro")
    artifact, name = Artifact.open(artifact_dir), "deployment_int8_ptq.tflite"
    model = artifact.load(name)
    images, _ = artifact.samples(5)
    inputs = model.quantize_input(artifact.preprocess(images))
    runtime = MicroRuntime(artifact.path(name).read_bytes())
    for image in inputs:
        (scores,) = runtime.run([image[np.newaxis]])
        assert scores.argmax() == model.invoke(image[np.newaxis]).argmax()
    pytest.importorskip("ethosu.vela", reason="needs the extra ethosu")
    assert vela.compile_file(artifact.path(name), "ethos-u55-128")["cycles"]


# Runs with MediaPipe's Python: prints the class of each photo, from the file alone.
_CLASSIFY = """
import sys
import mediapipe
from mediapipe.tasks.python import BaseOptions, vision
options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=sys.argv[1]), max_results=1)
with vision.ImageClassifier.create_from_options(options) as classifier:
    for path in sys.argv[2:]:
        found = classifier.classify(mediapipe.Image.create_from_file(path))
        print(found.classifications[0].categories[0].category_name)
"""


def _mediapipe(python, path, photos):
    command = [python, "-c", _CLASSIFY, path, *photos]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _predicted(run_cli, path, photos):
    done = run_cli("trainers.predict", f"--model={path}", "--format=csv", "--top=1", *photos)
    return list(csv.DictReader(done.stdout.splitlines()))


@pytest.mark.slow
def test_mediapipe_classifies_from_the_file_alone_as_predict_does(digits_folder, run_cli, tmp_path):
    python = os.environ.get("MEDIAPIPE_PYTHON")
    if not python:
        pytest.skip("MEDIAPIPE_PYTHON names no Python with mediapipe: make test-mediapipe")
    small = ["--input_size=32", "--crop_share=1", "--small_images", "--crop=pad", "--noflip"]
    outputs = ["--output=artifact", "--io_dtype=uint8"]
    run_cli(
        "trainers.train", "--recipe=folder", f"--data_dir={digits_folder}", "--workdir=work",
        "--scale=0.5", "--batch_size=24", "--epochs=20", "--batch_norm_steps=20", *small,
        timeout=1200,
    )  # fmt: skip
    run_cli("converters.convert", "--model=work", *outputs, timeout=1200)
    photos = sorted(digits_folder.glob("*/*/*.jpg"))[::3]
    assert len(photos) == 50
    for file in ("deployment_float32.tflite", "deployment_int8_ptq.tflite"):
        path = tmp_path / "artifact" / file
        theirs = _mediapipe(python, path, photos)
        rows = _predicted(run_cli, path, photos)
        assert {row["class"] for row in rows} == {"one", "two", "zero"}
        same = [row["class"] == name for row, name in zip(rows, theirs, strict=True)]
        sure = [float(row["probability"]) >= 0.6 for row in rows]
        # Decoders of JPEGs differ by a step or two, which may turn a class of 50%.
        assert sum(same) >= 48 and sum(sure) >= 40, file
        assert all(equal for equal, certain in zip(same, sure, strict=True) if certain), file
    # Of the same pixels, the integer file gets the same bytes.
    copies = [tmp_path / f"{index}.png" for index in range(len(photos))]
    for copy, photo in zip(copies, photos, strict=True):
        with Image.open(photo) as image:
            image.save(copy)
    assert _mediapipe(python, path, copies) == [
        row["class"] for row in _predicted(run_cli, path, copies)
    ]
