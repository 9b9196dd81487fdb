import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.running.measurement import read_measurements

ROOT = Path(__file__).resolve().parents[2]
MODULE = "edge.benchmark"
FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"
FAST = ("--runs=2", "--warmup=1", "--agreement_images=8")


@pytest.fixture
def folder(artifact_dir, tmp_path):
    """A copy of the artifact that a test may damage."""
    return shutil.copytree(artifact_dir, tmp_path / "artifact")


def table(done):
    """The lines of the printed table, without a note about a busy machine."""
    return [line for line in done.stdout.splitlines() if not line.startswith("Not a quiet")]


def needs_micro():
    return pytest.importorskip("tflite_micro", reason="needs keras_shufflenet[micro]")


@pytest.mark.parametrize(
    "modules",
    [
        "edge.benchmark, edge.running.micro_worker, edge.running.runner",
        "edge.profile, edge.profiling.worker",
        "edge.report",
        "edge.serve, edge.browser.runtime",
    ],
)
def test_no_command_imports_what_a_device_lacks(modules):
    heavy = {"tensorflow", "keras", "tf_keras", "sklearn", "matplotlib", "plotly"}
    code = f"import sys, {modules}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_host_is_measured(run_cli, artifact_dir, tmp_path):
    done = run_cli(MODULE, f"--artifact={artifact_dir}", "--cores=0", *FAST)
    records = read_measurements(tmp_path / "measurements.jsonl")
    assert [record["file"] for record in records] == [FLOAT, INT8]
    manifest = json.loads((artifact_dir / "manifest.json").read_text())
    for record in records:
        entry = manifest["files"][record["file"]]
        assert record["sha256"] == entry["sha256"]
        assert record["accuracy"] == pytest.approx(entry["accuracy"], abs=1e-9)
        assert (record["device"], record["threads"], record["cores"]) == ("host", 1, [0])
        # The one that was asked for, then windows of ten until the times are stable.
        assert record["warmup"] >= 21 and record["warmup_stable"] in (True, False)
        assert record["latency_ms"]["runs"] == 2
        assert record["initialization_ms"] > 0 and record["first_ms"] > 0
        assert record["state_before"].keys() == record["state_after"].keys()
        assert record["peak_memory_bytes"] > record["bytes"]
    header, *rows = table(done)
    assert header.split()[:3] == ["file", "device", "KB"]
    assert len(rows) == 2 and len(set(map(len, [header, *rows]))) == 1
    assert done.stderr == ""


def test_micro_sim_equals_the_reference_kernels(run_cli, artifact_dir, tmp_path):
    needs_micro()
    done = run_cli(MODULE, f"--artifact={artifact_dir}", "--device=micro-sim", *FAST)
    (record,) = read_measurements(tmp_path / "measurements.jsonl")
    assert (record["file"], record["simulation"]) == (INT8, True)
    assert record["agreement_reference"]["max_lsb"] <= 1
    assert record["agreement_reference"]["exact"] >= 0.98
    assert record["agreement"]["images"] == record["latency_ms"]["runs"] == 8
    # As on the host: of all samples, not of those that were timed.
    manifest = json.loads((artifact_dir / "manifest.json").read_text())
    assert record["accuracy_images"] == manifest["samples"]["images"] == 100
    assert record["accuracy"] == pytest.approx(manifest["files"][INT8]["accuracy"], abs=0.02)
    assert f"{100 * record['accuracy']:.1f}% of 100" in done.stdout
    # The two largest tensors alone: 32x32x24 in and 32x32x24 out, next to the stem.
    assert 2 * 32 * 32 * 24 <= record["arena_bytes"] <= 200_000
    # It cannot take float files; unless one is asked for, they are skipped without a message.
    assert done.stderr == ""
    assert "RecordingMicroAllocator" not in done.stdout + done.stderr
    assert "micro-sim (simulated)" in done.stdout


def test_a_float_file_that_is_asked_for_is_refused_on_micro_sim(run_cli, artifact_dir, tmp_path):
    needs_micro()
    flags = (f"--artifact={artifact_dir}", "--device=micro-sim", f"--files={FLOAT},{INT8}")
    done = run_cli(MODULE, *flags, *FAST)
    (record,) = read_measurements(tmp_path / "measurements.jsonl")
    # It is reported, and did not stop the other file.
    assert record["file"] == INT8
    assert done.stderr.startswith(f"{FLOAT} on micro-sim: it has float input")


def test_arena_that_was_measured_is_enough(run_cli, artifact_dir, tmp_path):
    needs_micro()
    run_cli(MODULE, f"--artifact={artifact_dir}", "--device=micro-sim", *FAST)
    (record,) = read_measurements(tmp_path / "measurements.jsonl")
    code = (
        "import sys, numpy as np\n"
        "from tflite_micro.python.tflite_micro import runtime\n"
        "interpreter = runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2]))\n"
        "interpreter.set_input(np.zeros((1, 32, 32, 1), np.int8), 0)\n"
        "interpreter.invoke()\n"
    )
    # The interpreter aligns the arena's start to 16 bytes.
    arguments = [artifact_dir / INT8, record["arena_bytes"] + 16]
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)


def test_measurements_are_appended(run_cli, artifact_dir, tmp_path):
    flags = (f"--artifact={artifact_dir}", f"--files={INT8}", "--output=m.jsonl", *FAST)
    run_cli(MODULE, *flags)
    run_cli(MODULE, *flags)
    assert len(read_measurements(tmp_path / "m.jsonl")) == 2


def test_without_samples_accuracy_is_null(run_cli, folder, tmp_path):
    needs_micro()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["samples"] = None
    (folder / "manifest.json").write_text(json.dumps(manifest))
    files = f"--files={INT8}"
    run_cli(MODULE, "--artifact=artifact", "--device=host,micro-sim", files, *FAST)
    records = read_measurements(tmp_path / "measurements.jsonl")
    assert [(record["accuracy"], record["accuracy_images"]) for record in records] == [
        (None, 0)
    ] * 2
    assert records[1]["agreement_reference"]["max_lsb"] <= 1


def test_a_device_that_fails_does_not_stop_the_others(run_cli, artifact_dir, tmp_path):
    flags = (f"--artifact={artifact_dir}", "--device=ssh,host,android", f"--files={INT8}", *FAST)
    done = run_cli(MODULE, *flags, "--adb=no_such_adb", check=False)
    (record,) = read_measurements(tmp_path / "measurements.jsonl")
    assert (record["device"], done.returncode) == ("host", 1)
    assert len(table(done)) == 2
    assert done.stderr.startswith("error: --host is missing; name the board")
    assert "the program 'no_such_adb' cannot be run" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--artifact is missing"),
        (["--artifact=nowhere"], "nowhere is not a folder"),
        (
            ["--artifact=artifact", "--device=host,toaster"],
            "of host, ssh, android, coral, micro-sim, ethosu-model, browser; received 'toa",
        ),
        (["--artifact=artifact", "--device="], "--device must name some of"),
        (["--artifact=artifact", "--files=x.tflite"], f"no file 'x.tflite'; it has {FLOAT}"),
        (["--artifact=artifact", "--threads=0"], "--threads must be at least 1; received 0"),
        (["--artifact=artifact", "--runs=0"], "--runs must be at least 1; received 0"),
        (["--artifact=artifact", "--warmup=-1"], "--warmup must be at least 0; received -1"),
        (["--artifact=artifact", "--timeout=0"], "--timeout must be above 0; received 0"),
        (["--artifact=artifact", "--timeout=nan"], "--timeout must be above 0; received nan"),
        (["--artifact=artifact", "--timeout=inf"], "--timeout must be at most 1000000; received"),
        (["--artifact=artifact", "--threads=100000"], "--threads must be at most 256; received 1"),
        (["--artifact=artifact", "--cores=99999999999"], "--cores must be at most 4095; received"),
        (["--artifact=artifact", "--cores=a"], "--cores must be numbers such as 0,1; received 'a'"),
        (["--artifact=artifact", "--output=no/m.jsonl"], "'no/m.jsonl'; check the path"),
    ],
)
def test_mistakes_are_one_line(run_cli, folder, tmp_path, flags, message):
    done = run_cli(MODULE, *flags, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ") and message in done.stderr
    assert not (tmp_path / "measurements.jsonl").exists()


def test_tampered_artifact_is_refused_by_name(run_cli, folder):
    path = folder / INT8
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = run_cli(MODULE, "--artifact=artifact", check=False)
    assert done.returncode == 1
    assert f"{INT8} does not match its hash" in done.stderr


def test_missing_micro_interpreter_names_the_extra(run_cli, folder, tmp_path):
    # Hides the package from every process, as on a machine without the extra.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tflite_micro'] = None\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    flags = ("--artifact=artifact", "--device=micro-sim")
    done = run_cli(MODULE, *flags, check=False, env={"PYTHONPATH": path})
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'keras_shufflenet[micro]'" in done.stderr
