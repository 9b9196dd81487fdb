"""What the tests share: commands run like a user's, and one small network from data to artifact."""

import fcntl
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


# Fixtures that run commands: a test that uses one of them is too slow for `make test-fast`.
COMMANDS = {"run_cli", "trained_workdir", "artifact_dir"}


# First, before pytest selects by markers.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks the tests that run commands as `medium`; `make test-fast` skips them."""
    for item in items:
        if COMMANDS.intersection(item.fixturenames):
            item.add_marker(pytest.mark.medium)


# Their commands load TensorFlow; the others start quickly and must do without it.
_LOAD_TENSORFLOW = ("keras_shufflenet", "trainers", "converters", "experiments", "benchmarks")


@lru_cache(maxsize=1)
def _command_server():
    """Starts tests/command_server.py for the tests of this process."""
    return subprocess.Popen(
        [sys.executable, ROOT / "tests/command_server.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def _served(command, env, folder, timeout):
    """Runs [module, flags…] by the command server; as `subprocess.run` otherwise."""
    server = _command_server()
    with tempfile.TemporaryDirectory() as output:
        paths = [Path(output, name) for name in ("stdout", "stderr")]
        for path in paths:
            path.touch()
        module, *args = command
        request = {"folder": str(folder), "module": module, "args": args, "env": env}
        print(json.dumps({**request, "output": [*map(str, paths)]}), file=server.stdin, flush=True)
        if not select.select([server.stdout], [], [], timeout)[0]:
            os.killpg(server.pid, signal.SIGKILL)
            _command_server.cache_clear()
            raise subprocess.TimeoutExpired(command, timeout)
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(command, code, *(path.read_text() for path in paths))


def _run(folder, module, *args, check=True, timeout=300, env=None):
    """Runs `python -m module args…`; with `env` in a Python of its own."""
    command = [module, *map(str, args)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    if env is None and module.partition(".")[0] in _LOAD_TENSORFLOW:
        done = _served(command, environment, folder, timeout)
    else:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    if check and done.returncode:
        raise AssertionError(
            f"{module} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
    return done


def _made_once(tmp_path_factory, name, make):
    """Returns a folder that `make(folder)` fills once, in one process for all test processes."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each process has a separate folder in a common one.
        base = base.parent
    folder, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            # Left by another process that failed.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(autouse=True)
def fixed_seeds():
    """Gives the same random weights in every run, whatever ran before."""
    random.seed(0)
    np.random.seed(0)
    # Keras is not imported for this: tests of `edge` run without it.
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture
def run_cli(tmp_path):
    """`run_cli("trainers.train", "--recipe=digits", …)` in a subprocess, in an empty folder."""
    return lambda module, *args, **options: _run(tmp_path, module, *args, **options)


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory):
    """A folder data set, root/<split>/<class>/*.jpg: real digits of three classes."""
    from PIL import Image
    from sklearn.datasets import load_digits

    root = tmp_path_factory.mktemp("digits_folder")
    images, labels = load_digits(return_X_y=True)
    for label, name in enumerate(("zero", "one", "two")):
        chosen = images[labels == label][:50].reshape(-1, 8, 8)
        for index, image in enumerate(np.uint8(chosen * (255 / 16))):
            folder = root / ("train" if index < 40 else "test") / name
            folder.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(image).convert("RGB").resize((32, 32))
            picture.save(folder / f"{index:03d}.jpg", quality=95)
    return root


@pytest.fixture(scope="session")
def trained_workdir(tmp_path_factory):
    """The workdir of a training of five epochs on digits. Do not write into it."""

    def train(folder):
        _run(folder, "trainers.train", "--recipe=digits", "--workdir=work", "--epochs=5")

    return _made_once(tmp_path_factory, "trained", train) / "work"


@pytest.fixture(scope="session")
def artifact_dir(tmp_path_factory, trained_workdir):
    """The deployment graph of `trained_workdir` in float32 and int8. Do not write into it."""

    def convert(folder):
        _run(
            folder,
            "converters.convert",
            f"--model={trained_workdir}",
            "--output=artifact",
            "--quantization=none,int8-ptq",
            "--samples=100",
        )

    return _made_once(tmp_path_factory, "converted", convert) / "artifact"


# Prints the same words in the same order as edgetpu_compiler 16.0 in public transcripts.
_FAKE_COMPILER = """#!{python}
import pathlib, shutil, sys, time
sys.path.insert(0, {root!r})
from common.tflite.operators import operator_counts
UNMAPPED, SECONDS, FAILURE = {unmapped!r}, {seconds!r}, {failure!r}
print("Edge TPU Compiler version 16.0.384591198")
if "--version" in sys.argv:
    sys.exit()
print("Started a compilation timeout timer of 180 seconds.")
sys.stdout.flush()
time.sleep(SECONDS)
if FAILURE:
    print(FAILURE)
    sys.exit(1)
names = [name for name in sys.argv[1:] if name.endswith(".tflite")]
print("\\nModels compiled successfully in 12 ms." if names[1:] else
      "\\nModel compiled successfully in 12 ms.")
for name in names:
    output = name.replace(".tflite", "_edgetpu")
    shutil.copy(name, output + ".tflite")
    counts = {{kind: entry["count"] for kind, entry in operator_counts(name).items()}}
    left = sum(counts.get(kind, 0) for kind in UNMAPPED)
    print(f"\\nInput model: {{name}}\\nInput size: 1.00MiB\\nOutput model: {{output}}.tflite\\n"
          "Output size: 1.10MiB\\nOn-chip memory used for caching model parameters: 512.00KiB\\n"
          "On-chip memory remaining for caching model parameters: 7.00MiB\\n"
          "Off-chip memory used for streaming uncached model parameters: 0.00B\\n"
          f"Number of Edge TPU subgraphs: 1\\nTotal number of operations: {{sum(counts.values())}}"
          f"\\nOperation log: {{output}}.log\\n")
    if left:
        print("Model successfully compiled but not all operations are supported.\\n"
              f"Number of operations that will run on Edge TPU: {{sum(counts.values()) - left}}\\n"
              f"Number of operations that will run on CPU: {{left}}\\n")
    table = "Operator                       Count      Status\\n\\n" + "".join(
        f"{{kind:<31}}{{count:<11}}"
        + ("Operation not supported" if kind in UNMAPPED else "Mapped to Edge TPU") + "\\n"
        for kind, count in counts.items())
    print(table)
    pathlib.Path(output + ".log").write_text(
        f"Edge TPU Compiler version 16.0.384591198\\nInput: {{name}}\\n\\n" + table)
print("Compilation child process completed within timeout period.\\nCompilation succeeded!")
"""


@pytest.fixture
def fake_compiler(tmp_path):
    """Makes a fake `edgetpu_compiler`: a program that acts and prints like the real one.

    It maps all operators except `unmapped`, after `seconds`, or prints `failure`.
    """

    def make(unmapped=(), seconds=0, failure=None):
        path = tmp_path / "fake" / "edgetpu_compiler"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            _FAKE_COMPILER.format(
                python=sys.executable,
                root=str(ROOT),
                unmapped=tuple(unmapped),
                seconds=seconds,
                failure=failure,
            )
        )
        path.chmod(0o755)
        return path

    return make
