import ast
import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.artifact import Artifact
from edge.running import runner
from edge.running.runner import RunnerError, measure, pin, state, time_interleaved
from edge.running.samples import sample_inputs

SOURCE = Path(runner.__file__)
INT8 = "deployment_int8_ptq.tflite"


class FakeModel:
    """A fake runner.Model that records when it runs."""

    def __init__(self, name, journal):
        self.name, self.journal = name, journal

    def noise(self):
        return 0

    def set_input(self, x):
        self.journal.append(f"set {self.name}")

    def run(self):
        self.journal.append(f"run {self.name}")


def request(path, **values):
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    common = {"threads": 1, "cores": [], "library": None, "samples": None, "inputs": []}
    return {"task": "single", "files": [{"path": str(path), "sha256": sha256}], **common, **values}


def test_it_runs_alone_on_python_3_7():
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 7))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    outside = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert outside == {"numpy"}


def test_it_describes_the_machine_from_any_folder(tmp_path):
    copy = tmp_path / "runner.py"
    copy.write_bytes(SOURCE.read_bytes())
    done = subprocess.run(
        [sys.executable, copy],
        input='{"task": "describe"}',
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    machine = json.loads(done.stdout)["machine"]
    assert machine["cores"] == os.cpu_count() and machine["cpu"]
    assert set(machine) >= {"governor", "load_average", "platform", "python", "litert"}
    assert machine["litert"].split()[0] in ("ai-edge-litert", "tflite-runtime")


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("model name\t: AMD EPYC\nflags\t: avx2 avx512f avx512_vnni", "AMD EPYC with avx512_vnni"),
        ("model name\t: AMD EPYC\nflags\t\t: fpu fma avx2", "AMD EPYC with avx2"),
        ("Features\t: fp asimd\nModel\t\t: Raspberry Pi 4", "Raspberry Pi 4"),
        ("Features\t: fp asimd asimddp\nModel\t\t: Raspberry Pi 5", "Raspberry Pi 5 with asimddp"),
    ],
)
def test_a_cpu_is_described_with_its_best_instructions(monkeypatch, cpuinfo, expected):
    monkeypatch.setattr(runner, "_read", lambda path: cpuinfo)
    assert runner._cpu_model() == expected


def test_rounds_are_interleaved_and_warm_up_is_not_counted():
    journal = []
    found = time_interleaved([FakeModel(name, journal) for name in "ab"], warmup=0, runs=2)
    assert journal == ["set a", "run a", "set b", "run b"] * 2
    assert (found["warmup"], found["warmup_stable"]) == (0, None)
    assert [len(times) for times in found["milliseconds"]] == [2, 2]
    journal.clear()
    found = time_interleaved([FakeModel("a", journal)], warmup=3, runs=2)
    assert len(journal) == 2 * (found["warmup"] + 2)
    assert len(found["milliseconds"][0]) == 2


def test_a_round_after_a_pause_starts_with_one_that_does_not_count():
    journal = []
    models = [FakeModel(name, journal) for name in "ab"]
    found = time_interleaved(models, warmup=0, runs=2, cooldown=1e-3)
    assert journal == ["set a", "run a", "set b", "run b"] * 4
    assert [len(times) for times in found["milliseconds"]] == [2, 2]


@pytest.mark.parametrize(
    ("medians", "count", "stable"),
    [
        # Windows of ten: 2.0, 1.5, then 1.5 again.
        ([2.0, 1.5, 1.5, 9.0], 33, True),
        # Every window is twice as slow as the one before: never stable.
        ([2.0**power for power in range(30)], 303, False),
    ],
)
def test_warm_up_goes_on_until_times_are_stable(monkeypatch, medians, count, stable):
    windows = iter(medians)

    def rounds(models, inputs, runs):
        return [[0.0] * runs] if runs == 3 else [[next(windows)] * runs]

    monkeypatch.setattr(runner, "_interleaved_rounds", rounds)
    assert runner._warm_up([None], [None], 3) == (count, stable)


def test_state_is_read_from_the_kernels_files():
    cpu, zone = "/sys/devices/system/cpu/", "/sys/class/thermal/"
    found = state(
        {
            cpu + "cpu10/cpufreq/scaling_cur_freq": "2400000",
            cpu + "cpu2/cpufreq/scaling_cur_freq": "1800000",
            cpu + "cpu2/cpufreq/scaling_governor": "schedutil",
            cpu + "cpu10/cpufreq/scaling_governor": "performance",
            zone + "thermal_zone0/type": "cpu-thermal",
            zone + "thermal_zone0/temp": "48312",
            # One that cannot be read, and one without a name.
            zone + "thermal_zone1/type": "battery",
            zone + "thermal_zone1/temp": "",
            zone + "thermal_zone2/temp": "30000",
            "/proc/loadavg": "0.52 0.58 0.59 1/467 12345",
        }
    )
    assert found == {
        "frequency_mhz": [1800, 2400],
        "governors": ["schedutil", "performance"],
        "temperature_c": {"cpu-thermal (0)": 48.312, "unnamed (2)": 30.0},
        "load_average": [0.52, 0.58, 0.59],
    }
    assert state({}) == {
        "frequency_mhz": [],
        "governors": [],
        "temperature_c": {},
        "load_average": None,
    }


def test_outputs_are_those_of_litert_model(artifact_dir):
    artifact = Artifact.open(artifact_dir)
    samples = str(artifact_dir / "samples.npz")
    inputs = sample_inputs(artifact.manifest)
    found = measure(request(artifact_dir / INT8, samples=samples, inputs=inputs))
    assert {"initialization_ms", "first_ms"} <= set(found)
    assert 0 <= found["model_memory_bytes"] < found["peak_memory_bytes"]
    (output,) = found["outputs"]
    outputs = np.frombuffer(base64.b64decode(output["base64"]), np.int8)
    images, _ = artifact.samples()
    expected = artifact.load(INT8).invoke_all([artifact.preprocess(images)])[0]
    np.testing.assert_array_equal(outputs.reshape(output["shape"]), expected)


def test_files_are_timed_together(artifact_dir):
    values = request(artifact_dir / INT8, task="together", warmup=1, runs=3)
    values["files"] *= 2
    found = measure(values)
    assert [len(times) for times in found["milliseconds"]] == [3, 3]
    assert found["warmup"] >= 21 and found["warmup_stable"] in (True, False)
    for moment in ("state_before", "state_after"):
        assert set(found[moment]) == {
            *("frequency_mhz", "governors", "temperature_c", "load_average")
        }


def test_another_file_is_rejected(artifact_dir):
    values = request(artifact_dir / INT8)
    values["files"][0]["sha256"] = "0" * 64
    with pytest.raises(RunnerError, match=r"int8_ptq.tflite is not the artifact's file; copy it"):
        measure(values)


def test_damaged_file_is_reported(tmp_path):
    path = tmp_path / "noise.tflite"
    path.write_bytes(b"\0" * 100)
    with pytest.raises(RunnerError, match="it is damaged or not for this LiteRT"):
        measure(request(path))


def test_core_that_does_not_exist_is_reported():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot pin processes")
    before = os.sched_getaffinity(0)
    message = r"--cores=9999 cannot be used on this machine with \d+ cores"
    with pytest.raises(RunnerError, match=message):
        pin([9999])
    pin([])
    assert os.sched_getaffinity(0) == before


def test_without_litert_the_remedy_is_reported(monkeypatch):
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        RunnerError, match=r"no LiteRT is installed; .* -m pip install ai-edge-lite"
    ):
        measure({"task": "describe"})
