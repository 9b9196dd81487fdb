import shutil

import pytest

from edge.running.measurement import read_measurements

MODULE = "edge.profile"
FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"
FAST = ("--runs=2", "--warmup=1")


def test_an_artifact_is_profiled(run_cli, artifact_dir, tmp_path):
    done = run_cli(MODULE, f"--artifact={artifact_dir}", "--output=profile", *FAST)
    records = read_measurements(tmp_path / "profile/profile.jsonl")
    assert [record["file"] for record in records] == [INT8, FLOAT]
    assert {record["device"] for record in records} == {"host"}
    assert all(record["operator_profile"]["runs"] == 2 for record in records)
    assert (tmp_path / "profile/profile.png").stat().st_size > 5000
    # The terminal shows the slowest operators, the file has all.
    everything = (tmp_path / "profile/profile.txt").read_text()
    operators = sum(len(record["operator_profile"]["operators"]) for record in records)
    for kind in ("convolution", "depthwise", "data movement", "network, unwatched", "Method: "):
        assert kind in done.stdout and kind in everything
    assert everything.count("\n") - done.stdout.count("\n") == operators - 2 * 8


def test_files_without_an_artifact_and_a_document(run_cli, artifact_dir, tmp_path):
    for name in ("a.tflite", "b.tflite"):
        shutil.copy(artifact_dir / INT8, tmp_path / name)
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- profile: begin -->\nold\n<!-- profile: end -->\nafter\n")
    done = run_cli(MODULE, "--files=a.tflite,b.tflite", "--document=page.md", *FAST)
    assert "us                  a.tflite  b.tflite  saved" in done.stdout
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| us | a.tflite | b.tflite | saved |" in text and "--files=a.tflite" in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--artifact is missing"),
        (["--artifact=nowhere"], "nowhere is not a folder"),
        (["--files=no.tflite"], "no.tflite does not exist or is not a file; check --files"),
        (["--files=x", "--runs=0"], "--runs must be at least 1; received 0"),
        (["--files=x", "--threads=100000"], "--threads must be at most 256; received 100000"),
        (["--files=x", "--method=guess"], "--method must be one of auto, profiler, single"),
        (["--files=bad.tflite"], "bad.tflite is not a .tflite model"),
        (["--files=bad.tflite", "--document=page.md"], "page.md does not exist"),
    ],
)
def test_mistakes_are_one_line(run_cli, tmp_path, flags, message):
    (tmp_path / "bad.tflite").write_bytes(b"nothing")
    done = run_cli(MODULE, *flags, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ") and message in done.stderr
