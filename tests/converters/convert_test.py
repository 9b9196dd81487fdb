import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import keras
import pytest
from PIL import Image

from common.cli import UserError
from common.tflite.vela_settings import VelaSettings
from converters.conversion import pipeline
from converters.conversion.config import ConversionConfig
from converters.conversion.pipeline import convert_workdir
from converters.conversion.sources import CONVERTERS
from converters.edgetpu_target.compiler import EdgeTpuSettings
from converters.micro_target.settings import MemorySettings
from converters.options import GRAPHS
from converters.quantization.config import QatConfig
from trainers.config import TrainConfig


@pytest.fixture
def workdir(trained_workdir, tmp_path):
    """A copy that a test may damage, with only the files that conversion reads."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("model.keras", "config.json", "labels.txt"):
        shutil.copy(trained_workdir / name, folder)
    return folder


@pytest.fixture
def config(workdir, tmp_path):
    return ConversionConfig(
        workdir, tmp_path / "artifact", quantizations=("none",), samples=0, calibration_images=64
    )


def assert_error(done, *parts):
    """The last line on stderr is the error and has all parts; exit code 1; no artifact."""
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1, done.stderr
    assert last.startswith("error: ") and "Traceback" not in done.stderr
    for part in parts:
        assert part in last


def test_manifest_is_complete(artifact_dir):
    manifest = json.loads((artifact_dir / "manifest.json").read_text())
    model, files = manifest["model"], manifest["files"]
    assert (model["model"], model["scale"]) == ("shufflenet_v2", 0.5)
    assert (model["parameters"], model["macs"]) == (351_610, 10_459_648)
    assert manifest["training"]["recipe"] == "digits"
    assert manifest["samples"]["images"] == 100
    assert manifest["calibration_images"] == 256
    (image,) = manifest["inputs"]
    assert image == {
        "name": "image",
        "shape": [1, 32, 32, 1],
        "channels": ["grey"],
        "orientation": "exif",
        "resize": {"shorter_side": 32, "filter": "triangle", "antialias": True},
        "crop": "center",
        "crop_share": 1.0,
        "preprocessing": {"mode": "tf", "scale": [1 / 127.5], "offset": [-1.0]},
    }
    assert manifest["command"].startswith("shufflenet convert --model=")
    assert set(manifest["versions"]) >= {"keras", "tensorflow", "ai-edge-litert", "numpy"}
    assert files["deployment_float32.tflite"]["agreement"]["max"] < 2e-4
    for name, entry in files.items():
        assert entry["bytes"] == (artifact_dir / name).stat().st_size
        assert (entry["graph"], entry["target"]) == ("deployment", "cpu")
        assert entry["agreement"]["images"] == 100
        assert not set(entry["operators"]) & {"TRANSPOSE", "RESHAPE", "SPLIT", "QUANTIZE"}
    made = {name: (entry["quantization"], entry["ranges"]) for name, entry in files.items()}
    assert made == {
        "deployment_float32.tflite": ("none", None),
        "deployment_int8_ptq.tflite": ("int8-ptq", "mse"),
    }


@pytest.mark.slow
def test_both_graphs_with_uint8_ends_and_a_picture(run_cli, trained_workdir, tmp_path):
    done = run_cli(
        "converters.convert",
        *(f"--model={trained_workdir}", "--output=artifact", "--graph=canonical,deployment"),
        *("--quantization=int8-ptq", "--io_dtype=uint8", "--target=micro", "--ranges=minmax"),
        *("--calibration_images=32", "--samples=8", "--plot=stage.png"),
    )
    assert done.stderr == ""
    with Image.open(tmp_path / "stage.png") as picture:
        assert picture.format == "PNG"
    files = json.loads((tmp_path / "artifact" / "manifest.json").read_text())["files"]
    canonical, deployment = (
        files[f"{graph}_int8_ptq.tflite"] for graph in ("canonical", "deployment")
    )
    assert (canonical["target"], canonical["ranges"]) == (None, None)
    assert (deployment["target"], deployment["ranges"]) == ("micro", "minmax")
    assert deployment["operators"]["QUANTIZE"]["count"] == 2
    # 16 units, each with two RESHAPE and one TRANSPOSE: the usual conversion keeps the shuffle.
    assert canonical["operators"]["TRANSPOSE"]["count"] == 16
    assert canonical["operators"]["RESHAPE"]["count"] == 32
    for entry in (canonical, deployment):
        assert {tensor["dtype"] for tensor in entry["inputs"] + entry["outputs"]} == {"uint8"}
    assert "micro" not in canonical
    if importlib.util.find_spec("tflite_micro") is None:
        assert deployment["micro"]["status"] == "not written"
        return
    assert "micro: firmware in deployment_int8_ptq_firmware, arena " in done.stdout
    header = tmp_path / "artifact" / deployment["micro"]["folder"] / "src/shufflenet_model.h"
    assert "using InputType = std::uint8_t;" in header.read_text()
    assert "AddQuantize" in deployment["micro"]["registrations"]
    memory = deployment["memory"]
    assert memory["arena_bytes"] < memory["arena_before"]
    assert deployment["micro"]["arena"]["measured_bytes"] == memory["arena_bytes"]
    assert f"memory: arena {memory['arena_before']:,} → " in done.stdout
    assert "memory" not in canonical


@pytest.mark.slow
def test_command_without_samples(run_cli, trained_workdir, tmp_path):
    done = run_cli(
        "converters.convert",
        *(f"--model={trained_workdir}", "--output=artifact", "--quantization=float16,dynamic"),
        "--samples=0",
    )
    names = sorted(path.name for path in (tmp_path / "artifact").iterdir())
    assert names == [
        *("deployment_dynamic.tflite", "deployment_float16.tflite"),
        *("labels.txt", "manifest.json"),
    ]
    assert "351,610 parameters" in done.stdout
    assert "deployment_float16.tflite" in done.stdout


def test_existing_output_is_rejected(run_cli, trained_workdir, tmp_path):
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "mine").write_text("x")
    done = run_cli(
        "converters.convert", f"--model={trained_workdir}", "--output=artifact", check=False
    )
    assert_error(done, "artifact is not empty and not an artifact", "name a new folder")
    assert [path.name for path in (tmp_path / "artifact").iterdir()] == ["mine"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write")
def test_unwritable_output_is_one_line(run_cli, trained_workdir):
    done = run_cli(
        "converters.convert", f"--model={trained_workdir}", "--output=/proc/artifact", check=False
    )
    assert_error(done, "/proc/")


def test_classes_that_differ_from_the_labels_are_rejected(run_cli, workdir, tmp_path):
    (workdir / "labels.txt").write_text("zero\none\n")
    done = run_cli("converters.convert", "--model=work", "--output=artifact", check=False)
    assert_error(done, "10 classes", "2 labels", "labels.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]


def test_labels_in_another_order_are_rejected(config):
    names = [str(digit) for digit in range(9, -1, -1)]
    (config.model / "labels.txt").write_text("".join(f"{name}\n" for name in names))
    with pytest.raises(UserError, match=r"digits has other .* order: number 1 is '0', not '9'"):
        convert_workdir(config, "")
    assert not config.output.exists()


@pytest.mark.slow
def test_a_softmax_at_the_end_is_converted_as_logits(config, capsys):
    path = config.model / "model.keras"
    model = keras.saving.load_model(path, compile=False)
    outputs = keras.layers.Softmax()(model.output)
    keras.Model(model.input, outputs, name=model.name).save(path)
    fields = convert_workdir(config, "")
    assert "model.keras ends with a softmax: what is converted are the" in capsys.readouterr().out
    entry = fields["files"]["deployment_float32.tflite"]
    assert "SOFTMAX" not in entry["operators"] and entry["agreement"]["max"] < 2e-4


def test_wrong_flags_are_rejected(run_cli, workdir):
    done = run_cli(
        "converters.convert",
        *("--model=work", "--output=artifact", "--quantization=none,int4"),
        check=False,
    )
    assert_error(done, "--quantization must be some of none, float16", "int4")


@pytest.mark.parametrize("name", ["model.keras", "config.json", "labels.txt"])
def test_missing_file_of_the_workdir_is_named(config, name):
    (config.model / name).unlink()
    with pytest.raises(UserError, match=name):
        convert_workdir(config, "")
    assert not config.output.exists()


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_truncated_model_is_named(config, share):
    path = config.model / "model.keras"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"model\.keras"):
        convert_workdir(config, "")
    assert not config.output.exists()


def test_model_with_nan_weights_is_rejected(config):
    path = config.model / "model.keras"
    model = keras.saving.load_model(path, compile=False)
    kernel = model.get_layer("predictions").kernel
    kernel.assign(kernel * float("nan"))
    model.save(path)
    with pytest.raises(UserError, match="NaN"):
        convert_workdir(config, "")
    assert not config.output.exists()


def edited(config):
    """Replaces the workdir's model with one that has a layer without a rule."""
    path = config.model / "model.keras"
    model = keras.saving.load_model(path, compile=False)
    outputs = keras.layers.LayerNormalization(name="mine")(model.output)
    keras.Model(model.input, outputs).save(path)


def test_an_edited_model_is_rejected_with_its_layer_and_the_remedy(config):
    edited(config)
    with pytest.raises(UserError, match=r"layer 'mine' .*--graph=canonical"):
        convert_workdir(config, "")
    assert not config.output.exists()


@pytest.mark.slow
def test_the_remedy_for_an_edited_model_works(config):
    edited(config)
    fields = convert_workdir(dataclasses.replace(config, graphs=("canonical",)), "")
    assert fields["files"]["canonical_float32.tflite"]["agreement"]["max"] < 2e-4


def test_another_model_is_converted(config):
    path = config.model / "model.keras"
    image = keras.Input((32, 32, 1))
    # A layer whose multiply-adds this project does not count.
    x = keras.layers.Conv2DTranspose(2, 3)(image)
    outputs = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(image, outputs, name="mine").save(path)
    fields = convert_workdir(config, "")
    assert fields["files"]["deployment_float32.tflite"]["agreement"]["max"] < 2e-4
    assert (fields["model"]["macs"], fields["model"]["parameters"]) == (None, 50)


@pytest.mark.slow
def test_edge_tpu_files_are_checked_and_compiled(config, fake_compiler):
    # A fake that leaves the usual conversion's shuffles unmapped, like compilers before 16.
    settings = EdgeTpuSettings(
        compiler=str(fake_compiler(unmapped=["TRANSPOSE"])), require_full_mapping=True
    )
    asked = {"graphs": ("deployment", "canonical"), "quantizations": ("int8-ptq",)}
    config = dataclasses.replace(config, **asked, target="edgetpu", edgetpu=settings)
    files = convert_workdir(config, "")["files"]
    ours, usual = (files[f"{graph}_int8_ptq.tflite"]["edgetpu"] for graph in asked["graphs"])
    assert ours["log"]["mapped"] == ours["log"]["total"] == ours["prediction"]["certain"]
    assert (ours["log"]["on_cpu"], ours["differences"]) == (0, [])
    assert ours["compiled"]["name"] == "deployment_int8_ptq_edgetpu.tflite"
    # The baseline may have operators on the CPU: it shows what would have happened.
    assert usual["log"]["on_cpu"] == 16
    assert usual["prediction"]["certain"] < usual["prediction"]["mapped"]
    assert usual["differences"] == [
        "TRANSPOSE: 16 of 16 predicted to map, the compiler mapped 0 of 16"
    ]
    assert (config.output / "canonical_int8_ptq_edgetpu.tflite").is_file()


def test_a_required_compiler_that_is_missing_is_reported_first(config, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = {"quantizations": ("int8-ptq",), "model": Path("nowhere"), "target": "edgetpu"}
    settings = EdgeTpuSettings(require_full_mapping=True)
    with pytest.raises(UserError, match="--require_full_mapping needs a compiler"):
        convert_workdir(dataclasses.replace(config, **asked, edgetpu=settings), "")


@pytest.mark.slow
def test_ethos_u_files_are_compiled(config):
    pytest.importorskip("ethosu.vela", reason="needs the extra ethosu")
    asked = {"quantizations": ("none", "int8-ptq"), "target": "ethosu"}
    files = convert_workdir(dataclasses.replace(config, **asked, accelerator="ethos-u55-128"), "")[
        "files"
    ]
    entry = files["deployment_int8_ptq.tflite"]["ethosu"]
    assert (entry["accelerator"], entry["cpu_operators"]) == ("ethos-u55-128", {})
    assert (config.output / entry["compiled"]["name"]).is_file()
    assert "ethosu" not in files["deployment_float32.tflite"]


def test_every_pair_has_a_converter():
    pairs = {(graph, name) for graph, names in GRAPHS.items() for name in names}
    assert set(CONVERTERS) == pairs


def test_quantization_aware_training_of_another_model_or_target_is_rejected(config, monkeypatch):
    folder = config.model / "qat"
    folder.mkdir()
    asked = dataclasses.replace(config, quantizations=("int8-qat",))
    for model, target, message in (
        (config.model.parent, "cpu", r"qat was trained from .*--qat"),
        (config.model, "micro", r"qat was trained for micro, not cpu; .*--target=micro"),
    ):
        found = QatConfig(model=model, target=target)
        monkeypatch.setattr(QatConfig, "load", lambda folder, found=found: found)
        with pytest.raises(UserError, match=message):
            convert_workdir(asked, "")
        assert not config.output.exists()


def test_too_few_calibration_images_are_rejected_before_the_first_file(config, monkeypatch):
    training = TrainConfig.load(config.model)
    training.replace(train_split="train[:20]").save(config.model)
    monkeypatch.setattr(pipeline, "CONVERTERS", {})
    with pytest.raises(UserError, match=r"'train\[:20\]' of digits gives 20 .* int8 needs 32"):
        convert_workdir(dataclasses.replace(config, quantizations=("none", "int8-ptq")), "")
    assert not config.output.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantizations": ()}, "--quantization must be some of"),
        ({"batch": 0}, "--batch must be at least 1; received 0"),
        ({"batch": 2, "target": "edgetpu"}, "--batch=2 is not supported with --target=edgetpu"),
        ({"quantizations": ("none", "none")}, "--quantization repeats a value"),
        ({"graphs": ("tflite",)}, "--graph must be some of deployment, canonical; received 'tfl"),
        ({"graphs": ("canonical",) * 2}, "--graph repeats a value: canonical,canonical"),
        (
            {"graphs": ("deployment", "canonical"), "quantizations": ("none", "int16x8")},
            "--graph=canonical is not supported with --quantization=int16x8, only with none, fl",
        ),
        (
            {"graphs": ("canonical",), "quantizations": ("int8-qat",)},
            "--graph=canonical is not supported with --quantization=int8-qat, .*use --graph=dep",
        ),
        ({"quantizations": ("int8-qat",)}, "needs a quantization-aware training, .*/qat is not"),
        (
            {"quantizations": ("int8-qat",), "qat": Path("nowhere")},
            "training, but nowhere is not one; train one with shufflenet quantize, or name it wit",
        ),
        ({"accelerator": "ethos-u1"}, "--accelerator must be one of ethos-u55-32, .*'ethos-u1'"),
        (
            {"accelerator": "ethos-u55-128"},
            "--accelerator is not supported with --target=cpu; convert with --target=ethosu",
        ),
        (
            {"vela": VelaSettings(optimise="size"), "target": "ethosu"},
            "--optimise and --arena_limit need the NPU that Vela compiles for; add --accelerator",
        ),
        (
            {"vela": VelaSettings(memory_mode="Fast"), "accelerator": "ethos-u65-256"},
            "--memory_mode must be one of Sram_Only, Shared_Sram, Dedicated_Sram, .*'Fast'",
        ),
        (
            {"edgetpu": EdgeTpuSettings(timeout=9)},
            "--edgetpu_… or --require_full_mapping is not supported with --target=cpu; convert wi",
        ),
        (
            {"target": "edgetpu", "edgetpu": EdgeTpuSettings(require_full_mapping=True)},
            "--require_full_mapping needs an integer file; add --quantization=int8-ptq or int8-qat",
        ),
        (
            {"memory": MemorySettings(arena=2**17)},
            "--bands, --max_overhead or --arena is not supported with --target=cpu; convert with",
        ),
        (
            {"memory": MemorySettings(bands="off"), "target": "micro", "quantizations": ("none",)},
            "--bands, --max_overhead or --arena needs an integer file; add --quantization=int8-ptq",
        ),
        ({"target": "phone"}, "--target must be one of cpu, micro, edgetpu, ethosu; received 'pho"),
        ({"io_dtype": "int4"}, "--io_dtype must be one of int8, uint8, float32; received 'int4'"),
        (
            {"io_dtype": "float32", "target": "micro"},
            "--io_dtype=float32 is not supported with --target=micro",
        ),
        ({"ranges": "best"}, "--ranges must be one of minmax, percentile, mse; received 'best'"),
        ({"onnx_layout": "chwn"}, "--onnx_layout must be one of nchw, nhwc; received 'chwn'"),
        ({"onnx_layout": "nhwc"}, "--onnx_layout needs an ONNX file; add --quantization=onnx or"),
        ({"onnx_weight_bits": 4}, "--onnx_weight_bits must be one of 8, 7; received 4"),
        ({"onnx_weight_bits": 7}, "--onnx_weight_bits needs an int8 file; add --quantization=onnx"),
        ({"plot": Path("stage.svg")}, "--plot must name a .png file; received 'stage.svg'"),
        ({"samples": -1}, "--samples must be at least 0; received -1"),
        ({"calibration_images": 3}, "--calibration_images must be at least 32; received 3"),
    ],
)
def test_settings_are_checked(config, change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(config, **change)


def test_missing_packages_of_onnx_are_named_before_any_work(config, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"onnx and onnxruntime; pip install '.*\[onnx\]'"):
        dataclasses.replace(config, quantizations=("none", "onnx"))
