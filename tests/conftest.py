"""What the tests share: commands run as a user runs them, and one small job through the chain."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def _run(folder, module, *args, check=True, timeout=300, env=None):
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, args)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
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


@pytest.fixture(autouse=True)
def fixed_seeds():
    """The same random weights in every run, whatever ran before."""
    random.seed(0)
    np.random.seed(0)
    # Not imported for it: tests of `edge` do without Keras.
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
    """A workdir as the train command leaves it: five epochs on digits. Do not write into it."""
    folder = tmp_path_factory.mktemp("trained")
    _run(folder, "trainers.train", "--recipe=digits", "--workdir=work", "--epochs=5")
    return folder / "work"


@pytest.fixture(scope="session")
def artifact_dir(tmp_path_factory, trained_workdir):
    """The deployment graph of `trained_workdir` in float32 and int8. Do not write into it."""
    folder = tmp_path_factory.mktemp("converted")
    _run(
        folder,
        "converters.convert",
        f"--model={trained_workdir}",
        "--output=artifact",
        "--quantization=none,int8-ptq",
        "--samples=100",
    )
    return folder / "artifact"
