import dataclasses
import json
import shutil
from pathlib import Path

import keras
import pytest

from converters.config import ConversionConfig
from converters.conversion import convert_workdir
from trainers.cli import UserError
from trainers.config import TrainConfig


@pytest.fixture
def workdir(trained_workdir, tmp_path):
    """A copy that a test may damage, without what conversion does not read."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("model.keras", "config.json", "labels.txt"):
        shutil.copy(trained_workdir / name, folder)
    return folder


@pytest.fixture
def config(workdir, tmp_path):
    return ConversionConfig(workdir, tmp_path / "artifact", ("none",), 0, 64, False)


def assert_refused(done, *parts):
    """One line on stderr, last, with everything in it; exit code 1; no artifact."""
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1, done.stderr
    assert last.startswith("error: ") and "Traceback" not in done.stderr
    for part in parts:
        assert part in last


def test_manifest_tells_everything(artifact_dir):
    manifest = json.loads((artifact_dir / "manifest.json").read_text())
    model, files = manifest["model"], manifest["files"]
    assert (model["model"], model["scale"]) == ("shufflenet_v2", 0.5)
    assert (model["parameters"], model["macs"]) == (351_610, 10_459_648)
    assert manifest["training"]["recipe"] == "digits"
    assert manifest["samples"]["images"] == 100
    assert manifest["calibration_images"] == 256
    assert "converters.convert" in manifest["command"]
    assert set(manifest["versions"]) >= {"keras", "tensorflow", "ai-edge-litert", "numpy"}
    assert files["model_float32.tflite"]["agreement"]["max"] < 2e-4
    for name, entry in files.items():
        assert entry["bytes"] == (artifact_dir / name).stat().st_size
        assert (entry["graph"], entry["agreement"]["images"]) == ("canonical", 100)
        # 16 units, two RESHAPE and one TRANSPOSE each: the usual conversion keeps the shuffle.
        assert entry["operators"]["TRANSPOSE"]["count"] == 16
        assert entry["operators"]["RESHAPE"]["count"] == 32


def test_command_without_samples(run_cli, trained_workdir, tmp_path):
    done = run_cli(
        "converters.convert",
        *(f"--model={trained_workdir}", "--output=artifact", "--quantization=float16,dynamic"),
        "--samples=0",
    )
    names = sorted(path.name for path in (tmp_path / "artifact").iterdir())
    assert names == ["labels.txt", "manifest.json", "model_dynamic.tflite", "model_float16.tflite"]
    assert "351,610 parameters" in done.stdout
    assert "model_float16.tflite" in done.stdout


def test_existing_output_is_refused(run_cli, trained_workdir, tmp_path):
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "mine").write_text("x")
    done = run_cli(
        "converters.convert", f"--model={trained_workdir}", "--output=artifact", check=False
    )
    assert_refused(done, "artifact exists and is not empty", "--overwrite")
    assert [path.name for path in (tmp_path / "artifact").iterdir()] == ["mine"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write")
def test_unwritable_output_is_one_line(run_cli, trained_workdir):
    done = run_cli(
        "converters.convert", f"--model={trained_workdir}", "--output=/proc/artifact", check=False
    )
    assert_refused(done, "/proc/")


def test_classes_that_differ_from_the_labels_are_refused(run_cli, workdir, tmp_path):
    (workdir / "labels.txt").write_text("zero\none\n")
    done = run_cli("converters.convert", "--model=work", "--output=artifact", check=False)
    assert_refused(done, "10 classes", "2 labels", "labels.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]


def test_wrong_flags_are_refused(run_cli, workdir):
    done = run_cli(
        "converters.convert",
        *("--model=work", "--output=artifact", "--quantization=none,int4"),
        check=False,
    )
    assert_refused(done, "--quantization must be some of none, float16", "int4")


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


def test_model_with_nan_weights_is_refused(config):
    path = config.model / "model.keras"
    model = keras.saving.load_model(path, compile=False)
    kernel = model.get_layer("predictions").kernel
    kernel.assign(kernel * float("nan"))
    model.save(path)
    with pytest.raises(UserError, match="Keras model gives NaN"):
        convert_workdir(config, "")
    assert not config.output.exists()


def test_too_few_calibration_images_are_refused(config):
    training = TrainConfig.load(config.model)
    dataclasses.replace(training, train_split="train[:20]").save(config.model)
    with pytest.raises(UserError, match=r"'train\[:20\]' of digits gives 20 .* int8 needs 32"):
        convert_workdir(dataclasses.replace(config, quantizations=("int8",)), "")
    assert not config.output.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantizations": ()}, "--quantization must be some of"),
        ({"quantizations": ("none", "none")}, "--quantization repeats"),
        ({"samples": -1}, "--samples must be at least 0; received -1"),
        ({"calibration_images": 3}, "--calibration_images must be at least 32; received 3"),
    ],
)
def test_settings_are_checked(config, change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(config, **change)
