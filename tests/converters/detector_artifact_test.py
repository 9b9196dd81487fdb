"""A detector from its workdir to devices: convert, benchmark, predict, evaluate, firmware."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.artifact import Artifact
from common.cli import UserError
from common.storage.readers import read_json

pytestmark = pytest.mark.medium

HERE = Path(__file__).parent
DRAW = HERE.parents[1] / "tools" / "draw_shapes.py"
FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"
NETWORK = {"stage_channels": "12,16,24", "stem_channels": 8, "head_channels": 8}
SIZE = 64


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A data set of 32 images to calibrate with and 6 to check with."""
    folder, write = tmp_path_factory.mktemp("shapes"), runpy.run_path(str(DRAW))["write"]
    for seed, (split, count) in enumerate((("train", 32), ("val", 6))):
        write(folder, split, count, np.random.default_rng(seed))
    return folder


def make_workdir(folder, shapes, **settings):
    """Writes the workdir of a small detector with random weights."""
    import keras

    from converters.random_weights import randomize_batch_norms
    from keras_shufflenet import ShuffleNetDetector, ShuffleNetV2
    from trainers.recipes import make_config

    values = {"data_dir": str(shapes), "input_size": SIZE, **NETWORK, **settings}
    config = make_config("detection", str(folder), values)
    keras.utils.set_random_seed(0)
    backbone = ShuffleNetV2(
        stage_channels=(12, 16, 24),
        units_per_stage=(1, 2, 1),
        **{"stem_channels": 8, "head_channels": 8},
        **{"input_shape": (SIZE, SIZE, 3), "include_top": False},
    )
    how = config.detection
    neck = {"neck": how.neck, "width": 16, "strides": how.all_strides}
    model = ShuffleNetDetector(classes=3, backbone=backbone, **neck)
    randomize_batch_norms(model, 0)
    # Fresh predictions are nearly constant.
    kernel = model.get_layer("predictions").kernel
    kernel.assign(np.random.default_rng(0).normal(0, 0.3, kernel.shape))
    model.save(folder / "model.keras")
    config.save(folder)
    (folder / "labels.txt").write_text("circle\nsquare\ntriangle\n")
    return folder


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, shapes):
    """That of a detector with two levels."""
    return make_workdir(tmp_path_factory.mktemp("work"), shapes, strides="8,16")


@pytest.fixture(scope="module")
def converted(tmp_path_factory, workdir):
    """The artifact for microcontrollers, and its manifest."""
    from converters.conversion.config import ConversionConfig
    from converters.conversion.pipeline import convert_workdir

    folder = tmp_path_factory.mktemp("converted") / "artifact"
    config = ConversionConfig(workdir, folder, target="micro", calibration_images=32)
    convert_workdir(config, "shufflenet convert")
    return Artifact.open(folder)


def test_the_manifest_says_how_boxes_are_found(converted):
    manifest = converted.manifest
    assert (converted.task, converted.labels) == ("detection", ["circle", "square", "triangle"])
    assert manifest["name"] == "shufflenet_v2_stem8_stage12-16-24_head8_pan"
    assert manifest["outputs"] == [{"name": "raw", "shape": [1, 64 + 16, 7]}]
    assert manifest["decode"]["strides"] == [8, 16]
    (image,) = manifest["inputs"]
    assert image["crop"] is None and image["resize"]["width"] == SIZE
    assert manifest["samples"]["arrays"].keys() == {"images", "boxes", "classes", "ignored"}
    int8 = manifest["files"][INT8]
    (output,) = int8["outputs"]
    assert output["dtype"] == "int8" and "QUANTIZE" not in int8["operators"]
    assert 0 < int8["agreement"]["rms"] < 0.4


def test_the_samples_are_the_images_and_boxes_of_the_split(converted, shapes):
    images, truths = converted.sample_arrays(["images"])[0], converted.sample_truths()
    annotated = read_json(shapes / "val.json", "")
    names = [one["file_name"] for one in annotated["images"]]
    assert images.shape == (6, SIZE, SIZE, 3)
    for number, (image, truth) in enumerate(zip(images, truths, strict=True)):
        with Image.open(shapes / "images" / names[number]) as stored:
            small = np.asarray(stored.convert("RGB").resize((SIZE, SIZE), Image.BILINEAR), int)
        assert np.abs(image.astype(int) - small).max() <= 1
        mine = [each for each in annotated["annotations"] if each["image_id"] == number]
        assert truth.classes.tolist() == [each["category_id"] for each in mine]
        corners = [
            [left, top, left + wide, top + high]
            for left, top, wide, high in (each["bbox"] for each in mine)
        ]
        np.testing.assert_allclose(truth.boxes, np.array(corners) * (SIZE / 192), atol=1e-4)


def test_benchmark_knows_the_average_precision(converted, run_cli, tmp_path):
    flags = ("--runs=1", "--warmup=0", f"--output={tmp_path}/m.jsonl", f"--files={INT8}")
    done = run_cli("edge.benchmark", f"--artifact={converted.folder}", *flags)
    record = json.loads((tmp_path / "m.jsonl").read_text())
    images = converted.preprocess(converted.sample_arrays(["images"])[0])
    raw = converted.load(INT8).predict(images)
    expected = converted.decoding.precision(raw, converted.sample_truths())
    assert (record["accuracy"], record["accuracy_images"]) == (None, 6)
    assert record["ap"] == pytest.approx(expected.ap, abs=1e-6)
    entry = converted.files[INT8]
    assert (entry["ap"], entry["ap50"]) == pytest.approx((expected.ap, expected.ap50))
    assert f"AP {100 * expected.ap:.1f}% of 6" in done.stdout


def test_predict_and_evaluate_take_the_files(converted, workdir, shapes, run_cli, tmp_path):
    image = shapes / "images" / "val_0000.png"
    flags = ("--score=0.05", f"--output={tmp_path}/found", "--format=json")
    done = run_cli("trainers.predict", f"--model={converted.folder}", *flags, image)
    (listed,) = json.loads(done.stdout)["images"]
    (found,) = converted.sample_arrays(["images"], 1)
    raw = converted.load(INT8).predict(converted.preprocess(found))
    from common.detection.nms import detect

    (expected,) = detect(raw, converted.decoding.points, score=0.05)
    assert len(listed["detections"]) == len(expected.scores) > 0
    best = listed["detections"][0]
    assert best["class"] == converted.labels[expected.classes[0]]
    box = np.clip(expected.boxes[0] * (192 / SIZE), 0, 192)
    np.testing.assert_allclose(best["box"], box, atol=0.02)
    assert (tmp_path / "found" / "val_0000.png.jpg").is_file()
    flags = (f"--workdir={workdir}", f"--output={tmp_path}/scores")
    run_cli("trainers.evaluate", f"--model={converted.folder / INT8}", *flags)
    scores = json.loads((tmp_path / "scores" / "evaluation.json").read_text())
    assert scores["ap"] == pytest.approx(converted.files[INT8]["ap"], abs=1e-6)


def test_firmware_finds_the_golden_boxes(converted, tmp_path):
    entry = converted.files[INT8]["micro"]
    if entry["status"] != "written":
        pytest.skip("needs the extra micro")
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    folder = converted.folder / entry["folder"]
    golden = (folder / "golden_test" / "golden.cpp").read_text()
    count = int(re.search(r"kGoldenCount = (\d+);", golden)[1])
    x = converted.load(INT8).quantize_input(
        converted.preprocess(converted.sample_arrays(["images"], 1)[0])
    )
    values = ",".join(map(str, x.ravel().tolist()))
    (tmp_path / "expected.h").write_text(
        f"#include <cstdint>\nconst std::int8_t kExpectedInput[] = {{{values}}};\n"
    )
    fake = HERE / "micro_target" / "fake_tflite_micro"
    includes = [f"-I{path}" for path in (fake, folder / "src", folder / "golden_test", tmp_path)]
    sources = [*sorted((folder / "src").glob("*.cpp")), *(folder / "golden_test").glob("*.c*")]
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-Wpedantic", "-fno-exceptions")
    command = [compiler, *flags, "-fno-rtti", *includes, *sources, "-o", tmp_path / "golden"]
    subprocess.run(list(map(str, command)), check=True)
    done = subprocess.run([tmp_path / "golden"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"boxes: {count} of {count}" in done.stdout and count > 0
    assert "Detect" in (folder / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["edgetpu", "ethosu"])
def test_accelerators_take_the_whole_network(workdir, tmp_path, target):
    from converters.conversion.config import ConversionConfig
    from converters.conversion.pipeline import convert_workdir

    accelerator = None
    if target == "ethosu":
        pytest.importorskip("ethosu.vela", reason="needs the extra ethosu")
        accelerator = "ethos-u55-128"
    settings = {"quantizations": ("int8-ptq",), "samples": 2, "calibration_images": 32}
    config = ConversionConfig(
        workdir, tmp_path / "artifact", target=target, accelerator=accelerator, **settings
    )
    manifest = convert_workdir(config, "shufflenet convert")
    found = manifest["files"][INT8][target]
    if target == "edgetpu":
        assert found["prediction"]["unmapped"] == []
    else:
        assert found["cpu_operators"] == {} and found["npu_operators"] > 0


@pytest.mark.slow
def test_every_other_quantization_computes_what_the_model_computes(workdir, tmp_path):
    from converters.conversion.config import ConversionConfig
    from converters.conversion.pipeline import convert_workdir

    # The layer that predicts is shared by all levels.
    bounds = {"float32": 1e-5, "float16": 1e-3, "dynamic": 0.02, "int16x8": 0.005}
    quantizations = ["none", "float16", "dynamic", "int16x8"]
    try:
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError:
        pass
    else:
        quantizations += ["onnx", "onnx-int8"]
    settings = {"quantizations": tuple(quantizations), "samples": 2, "calibration_images": 32}
    config = ConversionConfig(workdir, tmp_path / "artifact", **settings)
    files = convert_workdir(config, "shufflenet convert")["files"]
    for name, bound in bounds.items():
        assert files[f"deployment_{name}.tflite"]["agreement"]["rms"] < bound, name
    if "onnx" in quantizations:
        assert files["deployment_float32.onnx"]["agreement"]["rms"] < 1e-5
        assert files["deployment_int8_ptq.onnx"]["agreement"]["rms"] < 0.1
    assert all(entry["accuracy"] is None and entry["ap"] is not None for entry in files.values())


def quantize(workdir, *flags):
    """Runs converters.quantize, and returns what it prints."""
    command = [sys.executable, "-m", "converters.quantize", f"--model={workdir}", *flags]
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def quantized(shapes, tmp_path_factory):
    """The folder of a quantization-aware training, in the workdir of a detector."""
    # One level, because tracing takes most of the time.
    workdir = make_workdir(tmp_path_factory.mktemp("float"), shapes, neck="fused")
    flags = ("--steps=3", "--batch_size=8", "--checkpoint_every=2", "--eval_every=3")
    flags += ("--ranges=minmax", "--calibration_images=32", "--distill")
    printed = quantize(workdir, *flags)
    assert "step 0: AP " in printed and "step 3: AP " in printed
    return workdir / "qat"


@pytest.mark.slow
def test_a_quantization_aware_training_resumes_bit_identically(quantized):
    from converters.quantization import training
    from trainers.config import TrainConfig

    optimization = TrainConfig.load(quantized).optimization
    # A twentieth of the training's rate, for half of its batch.
    assert optimization.optimizer == "adamw"
    assert optimization.learning_rate == pytest.approx(2e-3 / 20 / 2)
    # As if it had been killed while it wrote the last checkpoint.
    again = Path(shutil.copytree(quantized, quantized.with_name("again")))
    (again / training.WEIGHTS_FILE).unlink()
    (last,) = (again / "checkpoints").glob("ckpt-3.data*")
    os.truncate(last, 100)
    printed = quantize(quantized.parent, f"--workdir={again}", "--resume")
    assert f"resuming {again} at step 2 of 3" in printed
    whole, resumed = (training.load_qat(each).model for each in (quantized, again))
    for mine, theirs in zip(whole.variables, resumed.variables, strict=True):
        assert mine.numpy().tobytes() == theirs.numpy().tobytes(), mine.name


@pytest.mark.slow
def test_the_trained_integers_are_converted(quantized, tmp_path):
    from converters.conversion.config import ConversionConfig
    from converters.conversion.pipeline import convert_workdir
    from converters.quantization.training import load_qat

    settings = {"quantizations": ("int8-qat",), "samples": 6}
    convert_workdir(
        ConversionConfig(quantized.parent, tmp_path / "artifact", **settings), "convert"
    )
    artifact = Artifact.open(tmp_path / "artifact")
    ((name, entry),) = artifact.files.items()
    images = artifact.preprocess(artifact.sample_arrays(["images"])[0])
    found, expected = artifact.load(name).predict(images), load_qat(quantized).model(images).numpy()
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.05 * expected.std()
    ap = artifact.decoding.precision(found, artifact.sample_truths()).ap
    assert entry["ap"] == pytest.approx(ap, abs=1e-6)
    (output,) = entry["outputs"]
    assert output["dtype"] == "int8" and "QUANTIZE" not in entry["operators"]


def test_another_file_of_the_workdir_is_that_detector(workdir, tmp_path):
    from converters.source.flags import ModelFlags
    from converters.source.opening import open_network

    folder = shutil.copytree(workdir, tmp_path / "work")
    best = (folder / "model.keras").rename(folder / "best.keras")
    network = open_network(best, None, ModelFlags())
    assert (network.task, network.decoding.strides) == ("detection", (8, 16))
    assert len(network.evaluation(3).truths) == 3


def test_a_detector_s_file_is_quantized_by_its_workdir(workdir, run_cli):
    file = workdir / "model.keras"
    done = run_cli("converters.quantize", f"--model={file}", "--data_dir=photos", check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: {file} is a detector's; name its workdir: --model={workdir}\n"


def test_other_commands_say_that_they_are_for_classifiers(workdir, converted):
    from converters.workdir import load_trained

    with pytest.raises(UserError, match="is a detector's training"):
        load_trained(workdir)
    with pytest.raises(UserError, match=r"is not of a classifier \(its task: detection\)"):
        converted.check_classifier()
    with pytest.raises(UserError, match="does not say how images are resized"):
        _ = converted.resize_size
