"""`converters.convert`, as a user calls it, and the artifacts it makes on devices."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import converters
from common.artifact import Artifact
from common.cli import UserError
from common.tflite.litert import LiteRTNetwork
from edge.running.measurement import read_measurements

L = keras.layers
ROOT = Path(__file__).resolve().parents[3]
FAST = ("--runs=2", "--warmup=1")
FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"
QAT = "deployment_int8_qat.tflite"


def two_heads():
    """A photo and a vector in; the outputs' names are not in the order of the alphabet."""
    photo, age = keras.Input((12, 12, 3), name="photo"), keras.Input((5,), name="age")
    x = L.Rescaling(1 / 255)(photo)
    x = L.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = L.Concatenate()([L.GlobalAveragePooling2D()(x), L.Dense(8, activation="relu")(age)])
    heads = [L.Dense(3, name="zebra")(x), L.Dense(2, name="ant")(x), L.Dense(4, name="bee")(x)]
    return keras.Model([photo, age], heads, name="two_heads")


def examples(count=80):
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (count, 12, 12, 3), np.uint8)
    return {"age": rng.normal(size=(count, 5)).astype(np.float32), "photo": photos}


@pytest.mark.medium
def test_several_inputs_and_outputs_keep_their_order_and_are_measured(tmp_path, run_cli):
    model, given = two_heads(), examples()
    made = converters.convert(model, tmp_path / "net", given, graph=["deployment", "canonical"])
    assert made.files.keys() == made.agreement.keys() == made.manifest["files"].keys()
    assert len(made.files) == 4 and made.manifest["task"] == "other"
    assert [one["name"] for one in made.manifest["inputs"]] == ["photo", "age"]
    assert [one["name"] for one in made.manifest["outputs"]] == ["zebra", "ant", "bee"]
    assert made.manifest["inputs"][0]["preprocessing"]["mode"] == "raw"
    assert made.manifest["labels"] is None
    values = [given["photo"].astype(np.float32), given["age"]]
    expected = [np.asarray(x) for x in model.predict(values, verbose=0)]
    for name, path in made.files.items():
        network = LiteRTNetwork(path)
        assert [tensor.shape for tensor in network.outputs] == [(1, 3), (1, 2), (1, 4)]
        bound = 1e-4 if "float" in name else 0.15
        for theirs, ours in zip(expected, network.predict_all(values), strict=True):
            assert np.sqrt(np.square(theirs - ours).mean()) <= bound * theirs.std()
        signature = network._interpreter.get_signature_list()["serving_default"]
        assert set(signature["outputs"]) == {"zebra", "ant", "bee"}
        assert made.agreement[name]["outputs"].keys() == {"zebra", "ant", "bee"}
        assert made.agreement[name]["argmax"] is None
    arrays = Artifact.open(tmp_path / "net").sample_arrays(("input_0", "input_1", "output_2"))
    assert [x.shape[1:] for x in arrays] == [(12, 12, 3), (5,), (4,)]
    done = run_cli("edge.benchmark", "--artifact=net", f"--files={FLOAT},{INT8}", *FAST)
    records = read_measurements(tmp_path / "measurements.jsonl")
    assert [record["accuracy"] for record in records] == [None, None]
    assert records[0]["keras_agreement"]["rms"] < 1e-4 < records[1]["keras_agreement"]["rms"] < 0.2
    assert "rms error" in done.stdout


@pytest.mark.medium
def test_a_classifier_of_an_unbatched_data_set_has_accuracy_and_no_softmax(tmp_path):
    import tensorflow as tf

    model = keras.Sequential([
        keras.Input((12, 12, 3)), L.Conv2D(8, 3, activation="relu"),
        L.GlobalAveragePooling2D(), L.Dense(3, activation="softmax"),
    ])  # fmt: skip
    photos, labels = examples()["photo"], np.arange(80) % 3
    data = tf.data.Dataset.from_tensor_slices((photos, labels))
    made = converters.convert(
        model, tmp_path / "net", data, quantization="int8-ptq", target="micro",
        preprocessing="tf", class_names=["a", "b", "c"],
    )  # fmt: skip
    artifact = Artifact.open(tmp_path / "net")
    assert artifact.task == "classification" and artifact.labels == ["a", "b", "c"]
    images, classes = artifact.samples()
    entry = made.manifest["files"][INT8]
    assert "SOFTMAX" not in entry["operators"] and "micro" in entry
    logits = artifact.load(INT8).predict(artifact.preprocess(images))
    assert (logits.argmax(axis=-1) == classes).mean() == pytest.approx(entry["accuracy"])


@pytest.mark.medium
def test_chosen_outputs_are_converted_in_the_order_asked_for(tmp_path):
    made = converters.convert(
        two_heads(), tmp_path / "net", examples(), outputs=["bee", "zebra"], target="micro"
    )
    for name in (FLOAT, INT8):
        shapes = [tensor.shape for tensor in LiteRTNetwork(made.files[name]).outputs]
        assert shapes == [(1, 4), (1, 3)]
    # The arena is made smaller, in bands or not, if TFLite Micro is there.
    memory = made.manifest["files"][INT8].get("memory", {"arena_bytes": 1, "arena_before": 1})
    assert memory["arena_bytes"] <= memory["arena_before"]
    assert made.manifest["files"][INT8]["micro"]["status"] == "not written"


@pytest.mark.medium
def test_a_fixed_batch_is_checked_measured_and_refused_where_it_cannot_be(tmp_path, run_cli):
    # Not a multiple of the batch: the last inference is filled up.
    model, given = two_heads(), examples(70)
    made = converters.convert(
        model,
        tmp_path / "net",
        given,
        batch=4,
        graph=["deployment", "canonical"],
        quantization=["none", "int8-ptq"],
    )
    assert [one["shape"] for one in made.manifest["inputs"]] == [[4, 12, 12, 3], [4, 5]]
    values = [given["photo"].astype(np.float32), given["age"]]
    expected = model.predict(values, verbose=0)
    for name, path in made.files.items():
        network = LiteRTNetwork(path)
        assert [tensor.shape for tensor in network.outputs] == [(4, 3), (4, 2), (4, 4)]
        bound = 1e-4 if "float" in name else 0.15
        for theirs, ours in zip(expected, network.predict_all(values), strict=True):
            assert np.sqrt(np.square(theirs - ours).mean()) <= bound * theirs.std()
    done = run_cli("edge.benchmark", "--artifact=net", *FAST)
    assert "Times are of an inference of 4 examples." in done.stdout
    for record in read_measurements(tmp_path / "measurements.jsonl"):
        assert record["batch"] == 4 and record["keras_agreement"]["rms"] < 0.15
    for wrong, message in (
        ({"target": "micro"}, "--batch=4 is not supported with --target=micro, .*one example"),
        ({"quantization": "onnx"}, "--batch=4 is not supported for ONNX files"),
    ):
        with pytest.raises(UserError, match=message):
            converters.convert(model, tmp_path / "other", given, batch=4, **wrong)


@pytest.mark.medium
def test_onnx_files_have_the_inputs_and_outputs_in_their_order(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is missing")
    made = converters.convert(
        two_heads(), tmp_path / "net", examples(), quantization=["onnx", "onnx-int8"]
    )
    assert len(made.files) == 2
    for name, entry in made.manifest["files"].items():
        assert [one["shape"] for one in entry["inputs"]] == [[1, 3, 12, 12], [1, 5]]
        assert [one["shape"] for one in entry["outputs"]] == [[1, 3], [1, 2], [1, 4]]
        bound = 1e-4 if "float" in name else 0.15
        assert all(one["rms"] < bound for one in entry["agreement"]["outputs"].values())
    with pytest.raises(UserError, match="has only ONNX files"):
        _ = Artifact.open(tmp_path / "net").files


@pytest.mark.medium
def test_a_model_of_quantization_aware_becomes_its_int8_file(tmp_path):
    pixels = examples()["photo"]
    photos = pixels.astype(np.float32) / 127.5 - 1
    model = small(L.Conv2D(8, 3, activation="relu"), name="mine")
    aware = converters.quantization_aware(model, photos, target="micro", pixels=(-1, 1))
    made = converters.convert(
        aware, tmp_path / "net", pixels, np.arange(80) % 3, quantization="int8-qat",
        target="micro", preprocessing="tf",
    )  # fmt: skip
    assert list(made.files) == [QAT] and made.agreement[QAT]["rms"] < 0.02
    assert (made.manifest["name"], made.manifest["outputs"][0]["name"]) == ("mine", "top")
    assert made.manifest["model"]["parameters"] == model.count_params()
    found = Artifact.open(tmp_path / "net").load(QAT).predict(photos)
    expected = aware.predict(photos, verbose=0)
    assert np.sqrt(np.square(found - expected).mean()) < 0.02 * expected.std()
    for options, message in (
        ({"target": "micro"}, "alone; convert the float model"),
        ({"quantization": "int8-qat"}, "for micro, not cpu"),
        ({"quantization": "int8-qat", "target": "micro", "size": 8}, "before quantization_aware"),
    ):
        with pytest.raises(UserError, match=message):
            converters.convert(aware, tmp_path / "other", photos, **options)
    with pytest.raises(UserError, match="int8-qat is of a model that conv"):
        converters.convert(model, tmp_path / "other", photos, quantization="int8-qat")
    assert not (tmp_path / "other").exists()


class Subclassed(keras.Model):
    def call(self, x):
        return x


def small(*layers, shape=(12, 12, 3), name="small"):
    x = image = keras.Input(shape, name="photo")
    for layer in layers:
        x = layer(x)
    return keras.Model(image, L.Dense(3, name="top")(L.GlobalAveragePooling2D()(x)), name=name)


def broken():
    model = small(L.Conv2D(4, 3, name="first"))
    model.get_layer("first").kernel.assign(np.full((3, 3, 3, 4), np.nan))
    return model


def stateful():
    image = keras.Input((12, 3), name="photo", batch_size=1)
    return keras.Model(image, L.GRU(3, stateful=True, name="memory")(image))


PHOTOS = np.zeros((40, 12, 12, 3), np.float32)


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (lambda: Subclassed(name="sub"), {}, "'sub' is of the class Subclassed.*functional model"),
        (lambda: small(L.Lambda(lambda x: x, name="odd")), {}, "layer 'odd' .* is a Lambda"),
        (lambda: small(L.ReLU(name="my relu")), {}, "'small' has a layer of the name 'my relu'"),
        (stateful, {}, "layer 'memory' .* is stateful, .*stateful=False"),
        (lambda: small(shape=(None, None, 3)), {}, r"input 'photo' .*--input_size \(size=\)"),
        (broken, {}, "weight '.*first/kernel' of layer 'first' .* NaN"),
        (small, {"images": PHOTOS[:, :8]}, r"'photo' takes .*\(12, 12, 3\).*\(40, 8, 12, 3\)"),
        (small, {"images": {"picture": PHOTOS}}, "input 'photo' is missing in images"),
        (small, {"labels": [1, 2]}, r"labels have the shape \(2,\) for 40 images"),
        (small, {"labels": np.full(40, 3)}, "labels have a class 3, but the model has .* 0 to 2"),
        (small, {"class_names": ["a", "b"]}, r"2 class names are given \(a, b\).* 'top' has 3"),
        (two_heads, {"labels": np.zeros(40)}, "labels and class names are for one output"),
        (small, {"outputs": ["bottom"]}, "no output 'bottom'; its outputs are top"),
        (two_heads, {"outputs": []}, "outputs must be different names of zebra, ant, bee"),
        (small, {"images": np.uint8(PHOTOS)}, r"does not say how pixels .*--preprocessing"),
        (small, {"preprocessing": "caffe"}, "--preprocessing must be one of tf, torch, raw"),
        (small, {"images": np.full_like(PHOTOS, np.inf)}, "'photo' have NaN or infinite values"),
        (lambda: keras.Sequential([L.Dense(3)], name="seq"), {}, "'seq' has no input shape yet"),
        (lambda: "net.keras", {}, "not a Keras 3 model"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_one_line_with_its_name(tmp_path, model, given, message):
    values = {"images": PHOTOS, **given}
    with pytest.raises(UserError, match=message) as caught:
        converters.convert(model(), tmp_path / "net", **values)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_import_alone_loads_nothing_and_names_what_there_is():
    code = (
        "import sys, converters; heavy = {'tensorflow', 'keras', 'numpy'} & set(sys.modules); "
        "print(heavy, dir(converters)[-3:], converters.graph.register_rule.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (
        "set() ['convert', 'deployment_graph', 'quantization_aware'] register_rule"
    )
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = converters.nothing


@pytest.mark.medium
def test_a_graph_alone_becomes_a_file(tmp_path):
    graph = converters.deployment_graph(small(L.Conv2D(4, 3)))
    images = np.random.default_rng(0).uniform(-1, 1, (4, 12, 12, 3)).astype(np.float32)
    for quantization, dtype in {"none": "float32", "int8-ptq": "int8"}.items():
        (tmp_path / "net.tflite").write_bytes(graph.to_tflite(quantization, images))
        assert LiteRTNetwork(tmp_path / "net.tflite").inputs[0].dtype == dtype
    with pytest.raises(ValueError, match=r"`images` must hold calibration images"):
        graph.to_tflite("int8-ptq")
