"""A thousand damaged inputs for each reader: an error that names the file, or a result.

Nothing else: no traceback, and no input that takes longer than a few seconds.
"""

import contextlib
import copy
import datetime
import importlib.metadata
import io
import json
import tempfile
from pathlib import Path

import h5py
import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.cli import UserError
from common.manifest import check_manifest, read_manifest
from common.storage.arrays import read_arrays
from common.storage.readers import read_lines
from common.tflite.isolated import IsolatedModel
from common.tflite.operators import operator_counts, read_operators
from converters.conversion import canonical
from converters.edgetpu_target.check import predict
from converters.edgetpu_target.log import parse_operation_log, parse_output
from edge.profiling.layers import read_layers
from edge.reporting.data import read_report_data
from edge.reporting.sections import sections
from keras_shufflenet.checkpoints.files import read_tensors
from keras_shufflenet.checkpoints.limits import DAMAGED
from keras_shufflenet.checkpoints.weights_argument import open_keras_file
from trainers.config import TrainConfig
from trainers.data import verification
from trainers.recipes import make_config
from trainers.reporting.metrics import keep_until
from trainers.reporting.page import curves, results
from trainers.reporting.runs import read_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

INPUTS = 1000
_SECONDS = datetime.timedelta(seconds=5)
fuzzed = settings(
    max_examples=INPUTS,
    deadline=_SECONDS,
    database=None,
    suppress_health_check=list(HealthCheck),
)

# What has broken a reader somewhere.
HOSTILE = (
    *(None, True, 0, -1, 5, 2**31, 2**63, -(2**64), 10**400, 1.5, 1e300, -0.0),
    *(float("nan"), float("inf"), "", "x", "\ud800", "\x00", "a\nb", "../x", "9" * 5000),
    *([], [[]], {}, {"a": None}, [0] * 1000),
)
_CHUNKS = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [b"\xff" * 4, b"\x00" * 8, b"[" * 2000, b'"', b"\n" * 3, b" " * 5000, b"9" * 400]
    ),
)


@st.composite
def damaged(draw, good: bytes) -> bytes:
    """Returns good bytes with one to four changes: overwritten, inserted, removed or cut off."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        chunk = draw(_CHUNKS)
        kind = draw(st.sampled_from(["overwrite", "insert", "remove", "cut"]))
        if kind == "overwrite":
            content[place : place + len(chunk)] = chunk
        elif kind == "insert":
            content[place:place] = chunk
        elif kind == "remove":
            del content[place : place + draw(st.integers(1, 64))]
        else:
            del content[place:]
    return bytes(content)


@st.composite
def damaged_json(draw, good: dict) -> bytes:
    """Returns good JSON with a value replaced or removed somewhere, or with bytes changed."""
    if draw(st.booleans()):
        return draw(damaged(json.dumps(good).encode()))
    value = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        _replace(draw, value)
    return json.dumps(value).encode()


def _replace(draw, value) -> None:
    while value:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = draw(st.sampled_from(keys))
        inner = value[key]
        if isinstance(inner, dict | list) and inner and draw(st.integers(0, 3)):
            value = inner
        elif draw(st.integers(0, 5)):
            value[key] = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
            return
        else:
            del value[key]
            return


TFLITE = {
    "sha256": "0" * 64,
    "bytes": 10,
    "graph": "deployment",
    "quantization": "int8-ptq",
    "input": {"shape": [1, 8, 8, 3]},
    "output": {"shape": [1, 2]},
    "operators": {"CONV_2D": {"count": 1, "versions": [3]}},
    "ethosu": {
        "accelerator": "ethos-u55-128",
        "clock_hz": 500_000_000,
        "cycles": {"total": 1},
        "memory_bytes": {"sram": 1},
        "compiled": {"sha256": "0" * 64, "bytes": 1, "name": "a_vela.tflite"},
    },
}
MANIFEST = {
    "schema_version": 1,
    "name": "net",
    "model": {},
    "training": {},
    "classes": 2,
    "input": {
        "shape": [1, 8, 8, 3],
        "preprocessing": {"mode": "tf", "scale": [1.0], "offset": [0.0]},
    },
    "labels": {"sha256": "0" * 64, "bytes": 4},
    "samples": {"sha256": "0" * 64, "bytes": 4, "images": 2},
    "files": {"a.tflite": TFLITE},
}
# The same of the current schema.
CURRENT = check_manifest(MANIFEST, Path("manifest.json"))
METRICS = {
    **{"step": 100, "epoch": 1.0, "top1": 0.5, "top5": 0.9, "eval_loss": 1.0, "train_loss": 1.0},
    **{"eval_images": 10, "images_per_second": 5.0, "memory_mb": 1.0},
}
MEASUREMENT = {
    **{"schema_version": 1, "date": "2026-01-01T00:00:00+00:00", "device": "host", "bytes": 5},
    **{"artifact": "a", "model": "net", "file": "a.tflite", "sha256": "0" * 64, "threads": 1},
    **{"graph": "deployment", "quantization": "int8-ptq", "accuracy": 0.5, "cores": []},
    "machine": {"cpu": "x"},
    "latency_ms": {"median": 1.0, "mean": 1.0, "min": 1.0, "p10": 0.9, "p90": 1.1, "runs": 5},
    "operator_profile": {
        "method_description": "m",
        "whole_ms": {"median": 1.0},
        "kinds": [{"kind": "convolution", "us": 1.0, "share": 1.0, "operators": 1}],
    },
}
LOG = """Edge TPU Compiler version 16.0.384591198
Model compiled successfully in 12 ms.

Input model: a.tflite
Input size: 1.00MiB
On-chip memory used for caching model parameters: 512.00KiB
Number of Edge TPU subgraphs: 1
Total number of operations: 2
Operation log: a.log

Operator                       Count      Status

CONV_2D                        2          Mapped to Edge TPU
"""


def folder_with(name, content):
    folder = Path(tempfile.mkdtemp(dir=_FOLDER))
    (folder / name).write_bytes(content)
    return folder


_FOLDER = None


@pytest.fixture(autouse=True)
def scratch(tmp_path):
    global _FOLDER
    _FOLDER = tmp_path


@fuzzed
@given(st.one_of(damaged_json(MANIFEST), damaged_json(CURRENT)))
def test_manifests(content):
    folder = folder_with("manifest.json", content)
    with contextlib.suppress(UserError):
        read_manifest(folder)


CONFIG = {
    "config": make_config("digits", "w", {}).to_flat(),
    "versions": {"keras": importlib.metadata.version("keras")},
    "command": "train",
}


@fuzzed
@given(damaged_json(CONFIG))
def test_configs(content):
    folder = folder_with("config.json", content)
    for read in (TrainConfig.load, lambda path: results([read_run(path)])):
        with contextlib.suppress(UserError):
            read(folder)


@fuzzed
@given(damaged("cat\nchâteau\ndog\n".encode()))
def test_labels(content):
    folder = folder_with("labels.txt", content)
    with contextlib.suppress(UserError):
        read_lines(folder / "labels.txt", "")


@fuzzed
@given(st.lists(damaged_json(METRICS), max_size=4))
def test_metrics(lines):
    good = json.dumps(METRICS).encode()
    folder = folder_with("metrics.jsonl", b"\n".join([good, *lines, good, b""]))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    run = read_run(folder)
    assert run.records
    results([run])
    curves([run])
    assert keep_until(100, folder) == 100


@fuzzed
@given(st.lists(damaged_json(MEASUREMENT), min_size=1, max_size=4))
def test_measurements(lines):
    good = json.dumps(MEASUREMENT).encode()
    folder = folder_with("m.jsonl", b"\n".join([*lines, good, b""]))
    data = read_report_data([folder / "m.jsonl"])
    assert data.points
    sections(data, (folder,))


@pytest.fixture(scope="module")
def tflite():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = keras.layers.DepthwiseConv2D(3)(x)
    x = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    images = np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 3)).astype(np.float32)
    return canonical.convert(keras.Model(image, x), "int8-ptq", images)


@fuzzed
@given(data=st.data())
def test_tflite_files(tflite, data):
    path = folder_with("a.tflite", data.draw(damaged(tflite))) / "a.tflite"
    for read in (operator_counts, read_operators, read_layers, predict):
        with contextlib.suppress(UserError):
            read(path)


def test_tflite_files_that_run(tflite, tmp_path):
    # Each starts a process, so they are fewer.
    rng = np.random.default_rng(0)
    for index in range(INPUTS // 50):
        content = bytearray(tflite)
        for place in rng.integers(0, len(content), 3):
            content[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / f"{index}.tflite"
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            model = IsolatedModel(path, seconds=30)
            model.predict(np.zeros((1, *model.input_shape[1:]), np.float32))


def test_images(tmp_path):
    rng = np.random.default_rng(0)
    goods = []
    for kind in ("PNG", "JPEG", "GIF", "BMP"):
        picture = PIL.Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
        goods.append(packed(lambda file, k=kind, p=picture: p.save(file, k)))
    paths = []
    for index in range(INPUTS):
        content = bytearray(goods[index % len(goods)])
        for place in rng.integers(0, len(content), 4):
            content[place] = int(rng.integers(256))
        paths.append(str(tmp_path / f"{index}.jpg"))
        Path(paths[-1]).write_bytes(content[: int(rng.integers(len(content)))] or b"x")
    statuses = [Path(path).stat() for path in paths]
    names = tf.constant(paths)
    found = verification.verify(
        paths, statuses, lambda number: tf.io.read_file(tf.gather(names, number)), 3
    )
    assert 0 < len(found.unreadable) <= INPUTS


@fuzzed
@given(damaged(LOG.encode()))
def test_compiler_logs(content):
    text = content.decode(errors="replace")
    for read in (parse_output, parse_operation_log):
        with contextlib.suppress(UserError):
            read(text)


def packed(write):
    file = io.BytesIO()
    write(file)
    return file.getvalue()


ARRAY = np.arange(32, dtype=np.uint8).reshape(4, 8)
NPZ = packed(lambda file: np.savez_compressed(file, images=ARRAY))


@fuzzed
@given(damaged(NPZ))
def test_npz_files(content):
    path = folder_with("a.npz", content) / "a.npz"
    with contextlib.suppress(UserError):
        read_arrays(path, {"images": (ARRAY.shape, np.uint8)}, "")
    with contextlib.suppress(ValueError):
        read_tensors(path)


def hdf5(file):
    with h5py.File(file, "w") as arrays:
        arrays["layers/dense/vars/0"] = np.ones((4, 8), np.float32)


HDF5 = packed(hdf5)


@fuzzed
@given(damaged(HDF5))
def test_hdf5_files(content):
    path = folder_with("a.weights.h5", content) / "a.weights.h5"
    with contextlib.suppress(*DAMAGED):
        open_keras_file(str(path)).close()


def checkpoint(suffix):
    from keras_shufflenet.checkpoints.files import write_tensors

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        write_tensors(path, {"fc.weight": np.ones((4, 8), np.float32)})
        return path.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "package"), [(".safetensors", "safetensors"), (".pth", "torch")]
)
def test_checkpoints(suffix, package):
    pytest.importorskip(package)
    good = checkpoint(suffix)

    @fuzzed
    @given(damaged(good))
    def read(content):
        path = folder_with(f"a{suffix}", content) / f"a{suffix}"
        with contextlib.suppress(ValueError):
            read_tensors(path)

    read()
