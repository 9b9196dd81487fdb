"""ONNX files as `shufflenet convert` writes them."""

import json

import numpy as np
import pytest

from common.artifact import Artifact
from common.cli import UserError
from converters.conversion.config import ConversionConfig
from converters.conversion.pipeline import convert_workdir
from converters.onnx_target import runtime

onnx = pytest.importorskip("onnx", reason="onnx is missing: keras_shufflenet[onnx] has it")
onnxruntime = pytest.importorskip(
    "onnxruntime", reason="onnxruntime is missing: keras_shufflenet[onnx] has it"
)

FLOAT, INT8 = "deployment_float32.onnx", "deployment_int8_ptq.onnx"


@pytest.fixture(scope="module")
def folder(trained_workdir, tmp_path_factory):
    """An artifact with both ONNX files and the .tflite file of the same ranges."""
    output = tmp_path_factory.mktemp("onnx") / "artifact"
    quantizations = ("int8-ptq", "onnx", "onnx-int8")
    config = ConversionConfig(trained_workdir, output, quantizations=quantizations, samples=100)
    convert_workdir(config, "a test")
    return output


@pytest.mark.slow
def test_the_manifest_describes_both_files(folder):
    files = json.loads((folder / "manifest.json").read_text())["files"]
    made = {name: (entry["quantization"], entry["ranges"]) for name, entry in files.items()}
    assert files[FLOAT]["target"] == "onnx" and files[INT8]["target"] == "onnx"
    assert made[FLOAT] == ("onnx", None) and made[INT8] == ("onnx-int8", "mse")
    assert files[FLOAT]["agreement"]["max"] < 2e-4 and files[FLOAT]["agreement"]["images"] == 100
    for name in (FLOAT, INT8):
        assert files[name]["inputs"][0]["shape"] == [1, 1, 32, 32]
        assert files[name]["outputs"][0]["shape"] == [1, 10]
        assert files[name]["bytes"] == (folder / name).stat().st_size
    assert files[INT8]["operators"]["QuantizeLinear"]["versions"] == [13]
    assert "QuantizeLinear" not in files[FLOAT]["operators"]
    assert 3 * files[INT8]["bytes"] < 2 * files[FLOAT]["bytes"]


def test_int8_is_as_accurate_as_the_tflite_file(folder):
    artifact = Artifact.open(folder)
    tflite, mine = (artifact.manifest["files"][name] for name in (artifact.default_file(), INT8))
    assert mine["accuracy"] >= tflite["accuracy"] - 0.03
    assert mine["agreement"]["rms"] <= 1.5 * tflite["agreement"]["rms"] + 0.02


def test_a_file_says_how_to_use_it(folder):
    session = onnxruntime.InferenceSession(folder / FLOAT, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["labels"]) == (folder / "labels.txt").read_text().split()
    images, labels = Artifact.open(folder).samples(20)
    scale, offset = (np.float32(json.loads(about[key])) for key in ("scale", "offset"))
    pixels = (images * scale + offset).transpose(0, 3, 1, 2)
    assert (about["layout"], about["colors"]) == ("nchw", "grey")
    logits = [session.run(None, {"image": image[np.newaxis]})[0][0] for image in pixels]
    assert (np.argmax(logits, axis=1) == labels).mean() >= 0.8


def test_the_commands_for_tflite_files_pass_over_them(folder):
    artifact = Artifact.open(folder)
    assert list(artifact.files) == ["deployment_int8_ptq.tflite"] == [artifact.default_file()]
    with pytest.raises(UserError, match=f"{INT8} is for other runtimes than LiteRT"):
        artifact.path(INT8)
    artifact.manifest["files"].pop("deployment_int8_ptq.tflite")
    with pytest.raises(UserError, match=r"has only ONNX files.*--quantization=int8-ptq"):
        artifact.default_file()


def test_a_file_of_others_is_refused(tmp_path):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1,))
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1,))
    graph = onnx.helper.make_graph([node], "other", [value], [output])
    opsets = [onnx.helper.make_opsetid("", 13)]
    # The helper's own version of the format can be newer than ONNX Runtime's.
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=7)
    onnx.save(made, tmp_path / "other.onnx")
    with pytest.raises(UserError, match="it names no layout"):
        runtime.OnnxModel(tmp_path / "other.onnx")
