"""The train command as a user types it: messages and exit codes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainers.recipes import make_config

ROOT = Path(__file__).resolve().parents[2]
TRAIN = "trainers.train"
STARTED = """
import gc
import sys
from trainers.startup import import_tensorflow
import_tensorflow()
assert {"tensorflow", "keras"} <= set(sys.modules)
assert not {"sklearn", "matplotlib"} & set(sys.modules)
from sklearn.datasets import load_digits
import matplotlib.pyplot
# Frozen are the modules' objects, and nothing that was made later.
assert gc.isenabled() and gc.get_freeze_count() > 100_000
print(len(load_digits().target))
"""


def refused(done, pattern):
    """Checks for exit code 1 and one matching line on stderr."""
    assert done.returncode == 1, done
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and re.search(pattern, lines[0]), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (
            ["--recipe=x"],
            r"unknown recipe 'x'.*digits, cifar10, cifar10_40px, cifar10_fast, folder",
        ),
        (["--recipe=digits", "--model=resnet"], r"--model .*shufflenet_v1, shufflenet_v2.*resnet"),
        (["--recipe=digits", "--batch_size=0"], r"--batch_size must be .*1, got 0"),
        (["--recipe=digits", "--strategy=gpu"], r"--strategy must be one of one, mirrored, multiw"),
        (["--recipe=folder"], r"--data_dir is missing; name the folder of your images"),
        ([], r"--recipe is missing; name one of digits"),
        (["--resume"], r"--recipe is missing"),
        (["--recipe=digits", "--workdir="], r"--workdir is missing"),
        (["--recipe=digits", "more"], r"unexpected argument 'more'"),
    ],
)
def test_wrong_flags_are_refused_in_one_line(run_cli, flags, pattern):
    refused(run_cli(TRAIN, "--workdir=work", *flags, check=False), pattern)


def test_wrong_flags_leave_nothing_behind(run_cli, tmp_path):
    run_cli(TRAIN, "--workdir=work", "--recipe=digits", "--scale=-1", "--crop=x", check=False)
    assert not (tmp_path / "work").exists()


def test_wrong_flags_do_not_wait_for_tensorflow():
    code = "import sys; import trainers.train; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_packages_that_keras_does_not_need_are_not_imported_but_others_can():
    # In a separate process, because here everything has already been imported. Other tests' imports
    # of tensorflow_model_optimization request the older Keras with this variable.
    env = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    result = subprocess.run(
        [sys.executable, "-c", STARTED], capture_output=True, text=True, env=env, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "1797\n"


def test_a_workdir_with_a_run_is_not_overwritten(run_cli, tmp_path):
    make_config("digits", "work", {}).save(tmp_path)
    done = run_cli(TRAIN, "--recipe=digits", f"--workdir={tmp_path}", check=False)
    refused(done, r"already holds a run; add --resume")


def test_a_resumed_run_refuses_other_values(run_cli, tmp_path):
    make_config("digits", "work", {}).save(tmp_path)
    flags = [f"--workdir={tmp_path}", "--resume", "--batch_size=16"]
    refused(run_cli(TRAIN, *flags, check=False), r"other values \(batch_size: 64 → 16\); resume")
    done = run_cli(TRAIN, *flags, "--recipe=digits", "--seed=1", check=False)
    refused(done, r"batch_size: 64 → 16, learning_rate: 0.1 → 0.025, seed: 0 → 1")


def test_a_run_on_a_folder_is_not_resumed_on_another_kind_of_data(run_cli, tmp_path):
    make_config("detection", "work", {"data_dir": "cells"}).save(tmp_path)
    flags = [f"--workdir={tmp_path}", "--resume", "--recipe=digits"]
    refused(run_cli(TRAIN, *flags, check=False), r"other values \(recipe: detection → digits, ")


def test_a_resumed_run_compares_the_classes_of_moved_data(run_cli, tmp_path, digits_folder):
    workdir = tmp_path / "work"
    workdir.mkdir()
    make_config("folder", "work", {"data_dir": "gone"}).save(workdir)
    (workdir / "labels.txt").write_text("cat\none\ntwo\n")
    flags = [f"--workdir={workdir}", "--resume", f"--data_dir={digits_folder}"]
    done = run_cli(TRAIN, *flags, check=False)
    refused(done, r"other classes than .*labels\.txt: 'cat' is missing, 'zero' is new; restore")


def test_a_read_only_workdir_is_refused(run_cli, tmp_path):
    # Root can write everywhere except here.
    locked = Path("/proc/work") if os.geteuid() == 0 else tmp_path / "locked" / "work"
    if os.geteuid():
        locked.parent.mkdir(mode=0o500)
    done = run_cli(TRAIN, "--recipe=digits", f"--workdir={locked}", check=False)
    refused(done, rf"'{locked}'; ")


def test_a_workdir_that_is_a_file_is_refused(run_cli, tmp_path):
    (tmp_path / "work").write_text("")
    refused(run_cli(TRAIN, "--recipe=digits", "--workdir=work", check=False), r"exists.*'work'")


def test_a_full_disk_is_reported_in_one_line(tmp_path):
    # No file may be larger than 1 MB here, and the network's checkpoint needs 3 MB.
    command = f"ulimit -f 1000; {sys.executable} -m {TRAIN} --recipe=digits --workdir={tmp_path}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    refused(done, rf"checkpoint of step 0 cannot be written to {tmp_path}.*free some space")


@pytest.mark.parametrize(
    ("dataset", "pattern"),
    [
        ("cifarten", r"unknown dataset 'cifarten' \(did you mean .*\); .*digits, folder or a name"),
        ("folder", r"image folder .*gone does not exist; check --data_dir"),
    ],
)
def test_missing_data_is_refused(run_cli, tmp_path, dataset, pattern):
    flags = [f"--dataset={dataset}", f"--data_dir={tmp_path / 'gone'}"]
    refused(run_cli(TRAIN, "--recipe=digits", "--workdir=w", *flags, check=False), pattern)


def test_an_empty_folder_and_a_class_without_images_are_refused(run_cli, tmp_path, digits_folder):
    flags = ["--recipe=folder", "--workdir=w"]
    (tmp_path / "empty").mkdir()
    done = run_cli(TRAIN, *flags, f"--data_dir={tmp_path / 'empty'}", check=False)
    refused(done, r"has no images; expected ROOT/SPLIT/CLASS")
    root = shutil.copytree(digits_folder, tmp_path / "images")
    (root / "train" / "three").mkdir()
    done = run_cli(TRAIN, *flags, f"--data_dir={root}", check=False)
    refused(done, r"class 'three' of split 'train' has no image|class 'three' .* is missing")


@pytest.fixture(scope="module")
def small():
    """Flags of a training that takes seconds."""
    return [
        "--recipe=digits",
        "--batch_size=8",
        "--eval_split=test[:20]",
        "--eval_every=1",
        "--checkpoint_every=1",
    ]


def test_a_corrupt_image_is_named_skipped_and_counted(run_cli, tmp_path, digits_folder, small):
    root = shutil.copytree(digits_folder, tmp_path / "images")
    bad = root / "train" / "one" / "003.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    data = ["--dataset=folder", f"--data_dir={root}", "--eval_split=test[:20]"]
    done = run_cli(TRAIN, *small, *data, "--workdir=work", "--steps=1")
    assert f"skipping {bad}: it cannot be decoded" in done.stderr
    (record,) = map(json.loads, (tmp_path / "work" / "metrics.jsonl").read_text().splitlines())
    assert (record["skipped_train_images"], record["skipped_eval_images"]) == (1, 0)
    assert record["eval_images"] == 20


@pytest.mark.slow
def test_ctrl_c_saves_a_checkpoint_and_shows_how_to_resume(tmp_path, small):
    command = [sys.executable, "-m", TRAIN, *small, f"--workdir={tmp_path}", "--steps=100000"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background ignore Ctrl-C, and their child processes inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        for line in process.stdout:
            if line.startswith("step 2:"):
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    (step,) = re.findall(r"checkpoint of step (\d+) saved; to continue: .* --resume", output)
    assert (tmp_path / "checkpoints" / f"ckpt-{step}.index").exists()
    assert "Traceback" not in errors
    assert int(step) >= 2


def test_sigterm_saves_a_checkpoint_and_two_trainings_cannot_share_a_workdir(
    run_cli, tmp_path, small
):
    command = [sys.executable, "-m", TRAIN, *small, f"--workdir={tmp_path}", "--steps=100000"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("step 2:"):
                break
        second = run_cli(TRAIN, f"--workdir={tmp_path}", "--resume", check=False)
        process.terminate()
        output, errors = process.communicate(timeout=120)
    refused(second, rf"{tmp_path} is in use by another training \(process {process.pid} on")
    assert process.returncode == 75, errors
    (step,) = re.findall(r"checkpoint of step (\d+) saved; to continue: .* --resume", output)
    assert (tmp_path / "checkpoints" / f"ckpt-{step}.index").exists()
    assert "Traceback" not in errors
    assert "oneDNN" not in errors  # the user does not need its messages
