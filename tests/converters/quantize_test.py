"""The quantize command as a user runs it: messages, exit codes and a run from end to end."""

import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from keras_shufflenet import ShuffleNetV2
from trainers.config import TrainConfig
from trainers.recipes import make_config

ROOT = Path(__file__).resolve().parents[2]
QUANTIZE = "converters.quantize"


@pytest.fixture
def workdir(tmp_path):
    """A float training's folder with a text file instead of a model."""
    folder = tmp_path / "work"
    folder.mkdir()
    make_config("digits", str(folder), {"epochs": 7, "warmup_epochs": 3}).save(folder)
    (folder / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    (folder / "model.keras").write_text("no model")
    return folder


def assert_error(done, pattern):
    """Checks for exit code 1 and one line on stderr that matches."""
    assert done.returncode == 1, done
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and re.search(pattern, lines[0]), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (["--model="], r"--model is missing; name the workdir"),
        (["--model=nowhere"], r"nowhere is not a training folder: it has no config\.json"),
        (["--target=gpu"], r"--target must be one of cpu, micro, edgetpu, ethosu; received 'gpu'"),
        (["--ranges=x"], r"--ranges must be one of minmax, percentile, mse; received 'x'"),
        (["--calibration_images=3"], r"--calibration_images must be at least 32; received 3"),
        (["--temperature=0"], r"--temperature must be in \(0, 1e6\]; received 0"),
        (["--distill_weight=1.5"], r"--distill_weight must be in \(0, 1\]; received 1\.5"),
        (["--epochs=0"], r"--epochs must be above 0"),
        (["--batch_size=0"], r"--batch_size must be .*1, got 0"),
        (["--strategy=tpu"], r"--strategy must be one of one, mirrored"),
        (["more"], r"unexpected argument 'more'"),
    ],
)
def test_wrong_flags_are_reported_in_one_line(run_cli, workdir, flags, pattern):
    assert_error(run_cli(QUANTIZE, f"--model={workdir}", *flags, check=False), pattern)
    assert not (workdir / "qat").exists()


def test_wrong_flags_do_not_wait_for_tensorflow():
    code = "import sys; import converters.quantize; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_an_unfinished_training_is_rejected(run_cli, workdir):
    (workdir / "model.keras").unlink()
    assert_error(run_cli(QUANTIZE, f"--model={workdir}", check=False), r"model\.keras is missing")


def test_a_damaged_model_is_rejected(run_cli, workdir):
    done = run_cli(QUANTIZE, f"--model={workdir}", check=False)
    assert_error(done, r"model\.keras cannot be loaded as a Keras model")


def test_a_run_from_end_to_end(run_cli, tmp_path):
    workdir = tmp_path / "work"
    workdir.mkdir()
    keras.utils.set_random_seed(0)
    model = ShuffleNetV2(
        input_shape=(32, 32, 1),
        small_images=True,
        units_per_stage=(1, 1, 1),
        stage_channels=(16, 24, 32),
        head_channels=48,
        classes=10,
        classifier_activation=None,
    )
    model.save(workdir / "model.keras")
    values = {"data_dir": str(tmp_path / "tfds"), "eval_split": "test[:40]", "epochs": 7}
    make_config("digits", str(workdir), values).save(workdir)
    (workdir / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))

    flags = [f"--model={workdir}", "--steps=2", "--batch_size=32", "--calibration_images=32"]
    done = run_cli(QUANTIZE, *flags)
    folder = workdir / "qat"
    assert f"the model is {folder / 'fake_quant.weights.h5'}" in done.stdout
    assert "step 0: top-1 " in done.stdout
    config = TrainConfig.load(folder)
    optimization = config.optimization
    # A hundredth of the training's 0.1, halved with the batch.
    assert optimization.learning_rate == pytest.approx(0.0005)
    assert (optimization.epochs, optimization.steps, optimization.warmup_epochs) == (2, 2, 0)
    assert (config.data.dataset, config.data.data_dir) == ("digits", values["data_dir"])
    section = json.loads((folder / "config.json").read_text())["quantize"]
    assert section["model"] == ".." and section["distill"] is False

    assert_error(run_cli(QUANTIZE, *flags, check=False), r"qat already holds a finished run; name")
    done = run_cli(QUANTIZE, f"--model={workdir}", "--resume", "--seed=1", "--distill", check=False)
    assert_error(done, r"other values \(seed: 0 → 1, distill: False → True\); resume with the same")
    done = run_cli(QUANTIZE, f"--model={workdir}", "--resume")
    assert "at step 2 of 2" in done.stdout

    (folder / "fake_quant.weights.h5").unlink()
    assert_error(run_cli(QUANTIZE, *flags, check=False), r"qat already holds a run; add --resume")
    (folder / "ranges.json").write_text("{")
    done = run_cli(QUANTIZE, f"--model={workdir}", "--resume", check=False)
    assert_error(done, r"ranges\.json cannot be read")
