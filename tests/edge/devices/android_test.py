"""Tests with a fake adb: a program that keeps the devices' file systems in a folder."""

import json
import shlex
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from common.artifact import Artifact
from common.cli import UserError
from edge.devices import Android, DeviceLostError, Job
from edge.devices.remote_folder import NAME
from edge.running.measurement import read_measurements

FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"
HOSTILE = "a b'\"$(touch pwned)`touch pwned`;touch pwned;é.tflite"
TEMPORARY = "data/local/tmp"

# It runs a device's commands in a real shell, with the device's paths inside its own folder, so
# that wrongly quoted text would really run. `states` has a line for each attached device.
FAKE_ADB = """#!{python} -IS
import pathlib, shutil, subprocess, sys
HOME = pathlib.Path(__file__).parent
states = dict(line.split() for line in (HOME / "states").read_text().splitlines())
arguments = sys.argv[1:]
with (HOME / "log").open("a") as log:
    print(arguments, file=log)
if arguments == ["devices"]:
    print("* daemon started successfully\\nList of devices attached")
    print("".join(f"{{serial}}\\t{{state}}\\n" for serial, state in states.items()))
    sys.exit()
assert arguments[0] == "-s", arguments
serial, (command, *rest) = arguments[1], arguments[2:]
root = HOME / serial
def fail(message):
    print(message, file=sys.stderr)
    sys.exit(1)
if serial not in states:
    fail(f"error: device '{{serial}}' not found")
if states[serial] != "device":
    fail("error: device offline")
if command == "get-state":
    print("device")
elif command == "push":
    source, target = rest
    if (root / "full").exists() and not target.endswith("owner.json"):
        fail(f"adb: error: failed to copy '{{source}}' to '{{target}}': remote write failed: "
             "No space left on device")
    shutil.copyfile(source, str(root) + target)
    print(f"{{source}}: 1 file pushed, 0 skipped. 200.0 MB/s")
elif command == "shell":
    (line,) = rest
    line = line.replace("/data/local/tmp", f"{{root}}/data/local/tmp")
    line = line.replace("/sys/", f"{{root}}/sys/")
    path = f"{{HOME}}/bin:/usr/bin:/bin"
    done = subprocess.run(["/bin/sh", "-c", line], cwd=root,
                          env={{"PATH": path, "ROOT": str(root), "HOME": str(HOME)}})
    sys.exit(done.returncode)
"""

# It prints what benchmark_model prints; the numbers are invented.
FAKE_BENCHMARK_MODEL = r"""#!/bin/sh
echo "$0 $*" >>"$ROOT/runs"
test -e "$ROOT/unplug" && echo "B2 device" >"$HOME/states" && exit 1
for argument in "$@"; do
  case "$argument" in --graph=*) cat "${argument#--graph=}" >/dev/null || exit 1 ;; esac
done
case "$*" in
  *use_nnapi=true*)
    echo "INFO: Created TensorFlow Lite delegate for NNAPI."
    echo "ERROR: NN API returned error ANEURALNETWORKS_OP_FAILED at line 3779." >&2
    echo "Failed to apply NNAPI delegate." >&2
    exit 1 ;;
  *use_gpu=true*)
    echo "INFO: Though GPU delegate is explicitly applied, the model graph will not be executed" \
      "by the delegate." ;;
  *use_xnnpack=true*)
    echo "INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely" \
      "executed by the delegate." ;;
esac
echo "INFO: count=50 first=1500 curr=1000 min=990 max=1500 avg=1100 std=10" \
  "p5=991 median=1050 p95=1400"
echo
echo "INFO: Inference timings in us: Init: 2500, First inference: 3000, Warmup (avg): 1200," \
  "Inference (avg): 1100"
echo "INFO: Peak memory footprint (MB): init=2 overall=4"
case "$*" in *enable_op_profiling=true*)
  echo "INFO: Operator-wise Profiling Info for Regular Benchmark Runs:"
  echo "============================== Summary by node type =============================="
  echo "  [Node type]  [count]  [avg ms]  [avg %]  [cdf %]  [mem KB]  [times called]"
  echo "  Convolution (NHWC, QC8) GEMM  3  0.9  100%  100%  0  3"
esac
"""


@dataclass(frozen=True)
class Phones:
    """The fake adb's folder; each device's file system is a folder in it, by serial number."""

    home: Path

    def state(self, **states):
        text = "".join(f"{serial} {state}\n" for serial, state in states.items())
        (self.home / "states").write_text(text)

    def temporary(self, serial):
        return sorted(path.name for path in (self.home / serial / TEMPORARY).iterdir())

    def runs(self, serial):
        return [shlex.split(line) for line in (self.home / serial / "runs").open()]


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def phones(tmp_path):
    home = tmp_path / "phones"
    (home / "bin").mkdir(parents=True)
    executable(home / "adb", FAKE_ADB.format(python=sys.executable))
    executable(home / "bin/getprop", '#!/bin/sh\necho "$1 of $(basename "$ROOT")"\n')
    executable(home / "bin/taskset", '#!/bin/sh\necho "mask $1" >>"$ROOT/masks"\nshift\n"$@"\n')
    executable(home / "benchmark_model", FAKE_BENCHMARK_MODEL)
    for serial in ("A1", "B2"):
        (home / serial / TEMPORARY).mkdir(parents=True)
        frequency = home / serial / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
        frequency.parent.mkdir(parents=True)
        frequency.write_text("1804800\n")
    found = Phones(home)
    found.state(A1="device", B2="device")
    return found


@pytest.fixture
def job(phones, artifact_dir):
    options = {
        **{"adb": str(phones.home / "adb"), "serial": ("A1",), "timeout": 60},
        "benchmark_model": str(phones.home / "benchmark_model"),
    }
    return Job(Artifact.open(artifact_dir), (INT8,), 4, 3, 50, 8, options)


def run(job, **options):
    device = Android()
    job = replace(job, options={**job.options, **options})
    try:
        device.prepare(job)
        return list(device.run(job))
    finally:
        device.clean_up()


def test_a_phone_is_measured_and_left_clean(phones, job):
    (result,) = run(job, cores=(4, 5, 6, 7))
    values = result.values
    assert (values["place"], values["delegate"], values["delegated"]) == (
        *("A1", "xnnpack"),
        "completely",
    )
    assert values["latency_ms"]["median"] == 1.05
    assert (values["initialization_ms"], values["first_ms"]) == (2.5, 3.0)
    assert values["accuracy"] is None
    assert values["profile"]["kinds"] == [
        {"operator": "Convolution (NHWC, QC8) GEMM", "count": 3, "ms": 0.9, "calls": 3}
    ]
    assert values["machine"]["cpu"] == "ro.soc.model of A1"
    assert values["machine"]["platform"].startswith("Android ro.build.version.release of A1 on")
    assert values["state_before"]["frequency_mhz"] == [1804.8]
    assert (phones.home / "A1/masks").read_text() == "mask f0\n" * 2
    plain, profiled = phones.runs("A1")
    assert plain[1:] == [
        f"--graph={phones.home}/A1/{TEMPORARY}/{NAME}/model.tflite",
        *("--num_threads=4", "--warmup_runs=3", "--num_runs=50", "--use_xnnpack=true"),
    ]
    assert profiled == [*plain, "--enable_op_profiling=true"]
    assert phones.temporary("A1") == []


def test_a_phone_can_cool_down_between_runs(phones, job):
    run(job, delegates=("none",), cooldown=0.5)
    assert phones.runs("A1")[0][-2:] == ["--use_xnnpack=false", "--run_delay=0.5"]


def test_phones_are_measured_side_by_side(phones, job):
    results = run(job, serial=("A1", "B2", "A1"))
    assert sorted(result.values["place"] for result in results) == ["A1", "B2"]
    assert phones.temporary("A1") == phones.temporary("B2") == []


def test_a_delegate_that_fails_is_an_error_and_no_number(phones, job):
    results = run(job, delegates=("nnapi", "gpu", "none"))
    assert [result.error for result in results[:2]] == [
        "A1, nnapi: NN API returned error ANEURALNETWORKS_OP_FAILED at line 3779.",
        "A1, gpu: the GPU delegate runs no part of this graph",
    ]
    assert results[2].values["delegate"] == "none"
    assert phones.runs("A1")[-2][-1] == "--use_xnnpack=false"


def test_the_command_measures_a_phone_and_names_are_no_commands(phones, job, run_cli, tmp_path):
    folder = shutil.copytree(job.artifact.folder, tmp_path / "$(touch pwned) 'x")
    (folder / INT8).rename(folder / HOSTILE)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {HOSTILE: manifest["files"][INT8]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = run_cli(
        "edge.benchmark",
        *(f"--artifact={folder}", "--device=android", "--serial=B2", "--cores=0"),
        *(f"--adb={phones.home}/adb", f"--benchmark_model={phones.home}/benchmark_model"),
    )
    (record,) = read_measurements(tmp_path / "measurements.jsonl")
    assert (record["device"], record["place"], record["file"]) == ("android", "B2", HOSTILE)
    assert "android B2 xnnpack" in done.stdout and done.stderr == ""
    assert not list(tmp_path.rglob("pwned")) and not Path("pwned").exists()


def test_a_phone_that_vanishes_is_reported_and_the_others_go_on(phones, job):
    (phones.home / "A1/unplug").touch()
    device = Android()
    job = replace(job, files=(FLOAT, INT8), options={**job.options, "serial": ("A1", "B2")})
    device.prepare(job)
    found = []
    with pytest.raises(DeviceLostError, match=r"A1 does not answer by adb .*; check its cable"):
        for result in device.run(job):
            found.append(result.file)
    device.clean_up()
    assert found == [FLOAT, INT8]
    assert phones.temporary("B2") == []
    # It could not be cleaned up; the next benchmark does that.
    assert phones.temporary("A1") == [NAME]
    (phones.home / "A1/unplug").unlink()
    phones.state(A1="device")
    assert run(job, serial=("A1",))[0].error is None
    assert phones.temporary("A1") == []


def test_what_is_left_is_named(phones, job, capsys):
    device = Android()
    device.prepare(job)
    phones.state()
    device.clean_up()
    told = capsys.readouterr().err
    assert told.startswith(f"/{TEMPORARY}/{NAME} is left on A1 (A1 does not answer by adb")


def test_a_full_phone_is_reported_and_left_clean(phones, job):
    (phones.home / "A1/full").touch()
    with pytest.raises(UserError, match=r"A1: .*No space left on device; free some space on it"):
        run(job)
    assert phones.temporary("A1") == []
    # If benchmark_model is already there, a file for which there is no space fails alone.
    program = executable(phones.home / "A1/benchmark_model", FAKE_BENCHMARK_MODEL)
    results = run(job, benchmark_model=f"device:{program}")
    assert "No space left on device" in results[0].error
    assert phones.temporary("A1") == []


def test_a_busy_phone_is_left_alone(phones, job):
    folder = phones.home / "A1" / TEMPORARY / NAME
    folder.mkdir()
    owner = {"machine": "elsewhere", "process": 1, "since": "today"}
    (folder / "owner.json").write_text(json.dumps(owner))
    message = "A1 is busy: a benchmark of elsewhere has used it since today"
    with pytest.raises(UserError, match=message):
        run(job)
    assert phones.temporary("A1") == [NAME]


@pytest.mark.parametrize(
    ("states", "options", "message"),
    [
        ({}, {"serial": ()}, "--serial must name one device or more; adb lists none"),
        (
            {"A1": "device", "B2": "device"},
            {"serial": ()},
            r"--serial must name one device or more; adb lists A1 \(device\), B2 \(device\)",
        ),
        ({"A1": "device"}, {"serial": ("X",)}, r"device 'X' is not ready; adb lists A1 \(device\)"),
        ({"A1": "unauthorized"}, {}, r"device 'A1' is not ready; adb lists A1 \(unauthorized\)"),
        ({"A1": "device"}, {"benchmark_model": "nowhere"}, "--benchmark_model=nowhere does not"),
        (
            {"A1": "device"},
            {"benchmark_model": "device:/data/local/tmp/none"},
            "A1 has no program /data/local/tmp/none; name a file on this machine",
        ),
        ({"A1": "device"}, {"delegates": ("hexagon",)}, "--delegates must name some of xnnpack, g"),
        ({"A1": "device"}, {"adb": "no_such_adb"}, "the program 'no_such_adb' cannot be run; ins"),
    ],
)
def test_mistakes_are_reported_and_nothing_is_left(phones, job, states, options, message):
    phones.state(**states)
    with pytest.raises(UserError, match=message):
        run(job, **options)
    assert phones.temporary("A1") == []


def test_one_device_needs_no_serial(phones, job):
    phones.state(B2="device")
    (result,) = run(job, serial=())
    assert result.values["place"] == "B2"


def test_a_command_that_takes_too_long_is_given_up_and_stopped(phones, job):
    executable(phones.home / "benchmark_model", '#!/bin/sh\necho $$ >"$ROOT/pid"\nexec sleep 20\n')
    message = r"did not answer within 2 seconds; .*; what ran there was stopped"
    with pytest.raises(DeviceLostError, match=message):
        run(job, timeout=2)
    stat = Path(f"/proc/{(phones.home / 'A1/pid').read_text().strip()}/stat")
    assert not stat.exists() or ") Z " in stat.read_text()
    assert phones.temporary("A1") == []
