import importlib.metadata
import json
import subprocess
import sys

import pytest

from common.tflite.operators import read_operators
from edge.profiling.litert import TRIED_VERSIONS

INT8 = "deployment_int8_ptq.tflite"
VERSION = importlib.metadata.version("ai-edge-litert")


def test_the_installed_version_was_tried():
    """The tests below are the trial."""
    assert VERSION.startswith(TRIED_VERSIONS), (
        f"ai-edge-litert {VERSION} may have changed its C interface: if the other tests here pass "
        "with it, add it to TRIED_VERSIONS in edge/profiling/litert.py and to setup.py's bound"
    )


def run(path, xnnpack, x="np.zeros((1, 32, 32, 1), np.int8)"):
    """Returns the events of one run in a process of its own, which LiteRT's C library may crash."""
    code = (
        "import json, sys, numpy as np\n"
        "from edge.profiling.litert import ProfiledModel\n"
        f"model = ProfiledModel(sys.argv[1], xnnpack={xnnpack})\n"
        f"model.set_input({x})\n"
        "model.run()\n"
        "print(json.dumps([[e.name, e.microseconds, e.index] for e in model.run()]))\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_own_kernels_are_the_file_s_operators_in_order(artifact_dir):
    done = run(artifact_dir / INT8, xnnpack=False)
    events = json.loads(done.stdout)
    operators = read_operators(artifact_dir / INT8).operators
    assert [name for name, _, _ in events] == [operator.name for operator in operators]
    assert [index for _, _, index in events] == list(range(len(operators)))
    # A wrong layout of the events would give addresses or zeros.
    assert 0 < sum(microseconds for _, microseconds, _ in events) < 60e6


def test_xnnpack_s_operators_are_told_apart(artifact_dir):
    events = json.loads(run(artifact_dir / INT8, xnnpack=True).stdout)
    operators = [operator.name for operator in read_operators(artifact_dir / INT8).operators]
    depthwise = [name for name, _, _ in events if name.endswith("DWConv")]
    assert len(depthwise) == operators.count("DEPTHWISE_CONV_2D")
    assert all(index is None for _, _, index in events)


def test_an_input_of_another_size_is_refused(artifact_dir):
    done = run(artifact_dir / INT8, xnnpack=True, x="np.zeros((1, 8, 8, 1), np.int8)")
    assert done.returncode == 1
    assert "ValueError: x must have 1024 bytes, received: 64" in done.stderr


def test_a_damaged_file_is_an_error(tmp_path):
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"0000TFL3" + bytes(100))
    done = run(path, xnnpack=True)
    assert done.returncode == 1 and "UserError: LiteRT's LiteRtCreate" in done.stderr


def test_other_versions_are_refused(monkeypatch):
    from common.cli import UserError
    from edge.profiling import litert

    monkeypatch.setattr(importlib.metadata, "version", lambda package: "1.4.0")
    with pytest.raises(UserError, match=r"known for ai-edge-litert 2\.3\.x, not for 1\.4\.0"):
        litert.ProfiledModel("any.tflite")
