"""Several workers as a user starts them; they die and resume."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf

import keras_shufflenet
from trainers import launch

pytestmark = pytest.mark.medium

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = "trainers.launch"


class FakeCluster:
    """A fake `LocalCluster` whose workers end immediately with the test's exit codes."""

    def __init__(self, codes, stopped=False):
        self.codes, self.stopped, self.commands = list(codes), stopped, []

    def __call__(self, command, workers):
        self.commands.append(command)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *unused_error):
        pass

    def wait(self):
        return self.codes.pop(0)


@pytest.mark.parametrize(
    ("codes", "restarts", "tries"),
    [
        ([0], 3, 1),
        ([-9, 75, 0], 3, 3),
        ([-9, -9, -9], 2, 3),
        ([-9, 1], 3, 2),  # an error that another try would not fix
        ([1], 3, 1),
        ([75], 0, 1),
    ],
)
def test_lost_workers_start_again(monkeypatch, codes, restarts, tries):
    fake = FakeCluster(codes)
    monkeypatch.setattr(launch, "LocalCluster", fake)
    assert launch._train(["train"], 2, restarts) == codes[-1]
    assert fake.commands == [["train"], *[["train", "--resume"]] * (tries - 1)]


def test_what_the_user_stopped_stays_stopped(monkeypatch):
    monkeypatch.setattr(launch, "LocalCluster", FakeCluster([75], stopped=True))
    assert launch._train(["train"], 2, 5) == 75


def test_flags_reach_the_workers_and_their_error_comes_back(run_cli):
    done = run_cli(LAUNCH, "--workers=2", "--recipe=digit", "--workdir=w", check=False)
    assert done.returncode == 1
    for worker in range(2):
        assert f"[worker {worker}] error: unknown recipe 'digit'" in done.stderr
    done = run_cli(LAUNCH, "--workers=0", check=False)
    assert done.returncode == 1 and "flag --workers=0" in done.stderr


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Flags of a training with fast steps and with everything that a run can save."""
    folder = tmp_path_factory.mktemp("launch")
    keras_shufflenet.ShuffleNetV2(
        input_shape=(32, 32, 1), classes=10, small_images=True, units_per_stage=(1, 1, 1),
        stage_channels=(8, 16, 24), head_channels=16, classifier_activation=None,
    ).save(folder / "small.keras")  # fmt: skip
    return [
        "--recipe=digits", f"--model={folder / 'small.keras'}", f"--data_dir={folder}",
        "--batch_size=16", "--steps=24", "--eval_split=test[:50]", "--eval_every=8",
        "--checkpoint_every=2", "--ema_decay=0.8", "--mixup=0.2", "--batch_norm_steps=2",
    ]  # fmt: skip


def start(workdir, *arguments, workers=2):
    command = [sys.executable, "-m", LAUNCH, f"--workers={workers}", f"--workdir={workdir}"]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output = process.communicate(timeout=900)[0]
    return process.returncode, output


def children(process):
    """Returns the workers' process numbers, in their order, after all have started."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(number) for number in listed]


def wait_for_step(process, workdir, step):
    """Waits for a checkpoint of this step or of a later one."""
    while process.poll() is None:
        names = [path.name for path in (workdir / "checkpoints").glob("ckpt-*.index")]
        if any(int(re.search(r"\d+", name)[0]) >= step for name in names):
            return
        time.sleep(0.05)
    raise AssertionError(process.communicate()[0])


def state(workdir, step):
    reader = tf.train.load_checkpoint(str(workdir / "checkpoints" / f"ckpt-{step}"))
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    return {name: reader.get_tensor(name).tobytes() for name in names}


@pytest.fixture(scope="module")
def whole(flags, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole") / "work"
    code, output = finish(start(workdir, *flags))
    assert code == 0, output
    return workdir


def scores(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [[json.loads(line)[name] for name in ("step", "eval_loss", "top1")] for line in lines]


def assert_same_end(first, second, step=24):
    mine, theirs = state(first, step), state(second, step)
    assert len(mine) > 50 and mine == theirs
    assert scores(first) == scores(second)


@pytest.mark.slow
def test_two_workers_resume_bit_identically_after_sigterm_to_any(flags, whole, tmp_path):
    workdir = tmp_path / "work"
    arguments = list(flags)
    for worker, step in ((1, 4), (0, 12)):
        process = start(workdir, *arguments)
        wait_for_step(process, workdir, step)
        subprocess.run(["kill", "-TERM", str(children(process)[worker])], check=True)
        code, output = finish(process)
        assert code == 75, output
        assert re.search(r"\[worker 0\] checkpoint of step \d+ saved; to continue: ", output), (
            output
        )
        assert "Traceback" not in output
        arguments = [*flags, "--resume"]
    code, output = finish(start(workdir, *arguments))
    assert code == 0 and "began" not in output, output
    assert_same_end(whole, workdir)


@pytest.mark.slow
def test_another_number_of_workers_resumes_and_says_so(flags, tmp_path):
    workdir = tmp_path / "work"
    process = start(workdir, *flags)
    wait_for_step(process, workdir, 4)
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert code == 75, output
    code, output = finish(start(workdir, *flags, "--resume", workers=1))
    assert code == 0, output
    assert "resuming on 1 devices (was 2)" in output
    assert (workdir / "model.keras").exists()


@pytest.mark.slow
def test_a_run_whose_workers_are_killed_ten_times_gives_the_same_result(flags, whole, tmp_path):
    workdir, rng = tmp_path / "work", random.Random(0)
    process = start(workdir, *flags, "--restarts=10")
    killed = 0
    for step in sorted(rng.sample(range(24), 10)):
        wait_for_step(process, workdir, step)
        time.sleep(rng.random())
        victims = children(process)
        if process.poll() is None and len(victims) == 2:
            subprocess.run(["kill", "-KILL", str(rng.choice(victims))], check=True)
            killed += 1
        while process.poll() is None and set(children(process)) & set(victims):
            time.sleep(0.05)
    code, output = finish(process)
    assert code == 0, output
    assert output.count("starting again with --resume") == killed == 10, output
    assert_same_end(whole, workdir)
