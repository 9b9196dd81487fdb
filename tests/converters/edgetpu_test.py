import json
import shutil

import pytest

from common.artifact import Artifact
from common.cli import UserError
from converters.edgetpu_target.artifacts import compile_artifacts
from converters.edgetpu_target.compiler import EdgeTpuSettings

FILE, COMPILED = "deployment_int8_ptq.tflite", "deployment_int8_ptq_edgetpu.tflite"


@pytest.fixture
def folders(artifact_dir, tmp_path):
    """Two artifacts that a test may change."""
    names = [tmp_path / "digits", tmp_path / "flowers"]
    for name in names:
        shutil.copytree(artifact_dir, name)
    return names


@pytest.fixture
def contents():
    return lambda folder: {path.name: path.read_bytes() for path in folder.iterdir()}


def test_artifacts_are_compiled_together_and_stay_readable(
    run_cli, folders, fake_compiler, tmp_path
):
    (folders[0] / "notes.txt").write_text("mine")
    compiler = fake_compiler()
    done = run_cli(
        "converters.edgetpu",
        *("--artifact=digits,flowers", f"--file={FILE}", f"--edgetpu_compiler={compiler}"),
        "--require_full_mapping",
    )
    assert done.stdout.count("map in 1 parts") == 2, done.stdout
    assert (folders[0] / "notes.txt").read_text() == "mine"
    for folder in folders:
        entry = Artifact.open(folder).files[FILE]["edgetpu"]
        assert (entry["status"], entry["compiler"]) == ("compiled", "16.0.384591198")
        log, prediction = entry["log"], entry["prediction"]
        assert log["mapped"] == log["total"] == prediction["operators"] == prediction["mapped"]
        assert (log["on_cpu"], log["models_compiled_together"]) == (0, 2)
        assert (log["subgraphs"], log["cached_bytes"]) == (1, 512 * 1024)
        assert entry["differences"] == []
        assert entry["compiled"]["bytes"] == (folder / COMPILED).stat().st_size
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_does_not_map_is_named_and_changes_nothing(folders, fake_compiler, contents):
    before = contents(folders[0])
    settings = EdgeTpuSettings(
        compiler=str(fake_compiler(unmapped=["MEAN"])), require_full_mapping=True
    )
    message = r"1 of \d+ operators of .*digits/deployment_int8_ptq.tflite do not map .*1 MEAN \(Op"
    with pytest.raises(UserError, match=message):
        compile_artifacts(folders[:1], FILE, settings)
    assert contents(folders[0]) == before


def test_a_difference_from_the_prediction_is_reported(folders, fake_compiler):
    settings = EdgeTpuSettings(compiler=str(fake_compiler(unmapped=["MEAN"])))
    (entry,) = compile_artifacts(folders[:1], FILE, settings).values()
    assert entry["differences"] == ["MEAN: 1 of 1 predicted to map, the compiler mapped 0 of 1"]


def test_without_a_compiler_the_remedy_is_printed_once(run_cli, folders, tmp_path):
    done = run_cli(
        "converters.edgetpu",
        *("--artifact=digits,flowers", f"--file={FILE}"),
        env={"PATH": str(tmp_path)},
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.endswith("operators predicted to map; not compiled") for line in lines[:2])
    assert lines[2].startswith("edgetpu_compiler runs on x86-64 Linux: install it")


def test_without_a_compiler_the_check_stays(folders, fake_compiler, monkeypatch, tmp_path):
    compile_artifacts(folders[:1], FILE, EdgeTpuSettings(compiler=str(fake_compiler())))
    assert (folders[0] / COMPILED).is_file()
    monkeypatch.setenv("PATH", str(tmp_path))
    compile_artifacts(folders[:1], FILE, EdgeTpuSettings())
    entry = Artifact.open(folders[0]).files[FILE]["edgetpu"]
    assert (entry["status"], entry["compiled"]) == ("not compiled", None)
    assert "install it" in entry["message"] and "shufflenet edgetpu" in entry["message"]
    assert not (folders[0] / COMPILED).exists()


def test_a_damaged_compiled_file_is_found(folders, fake_compiler):
    compile_artifacts(folders[:1], FILE, EdgeTpuSettings(compiler=str(fake_compiler())))
    with (folders[0] / COMPILED).open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff\xff")
    with pytest.raises(UserError, match=rf"{COMPILED} does not match its hash"):
        Artifact.open(folders[0])


@pytest.mark.parametrize(
    ("chosen", "file", "message"),
    [
        ((), None, "--artifact must name artifacts, each only once"),
        ((0, 0), None, "--artifact must name artifacts, each only once"),
        ((0,), None, "must have one int8 file made with --target=edgetpu, but it has none"),
        ((0,), "other.tflite", r"has no file 'other\.tflite'"),
    ],
)
def test_what_cannot_be_compiled_is_rejected(folders, chosen, file, message):
    with pytest.raises(UserError, match=message):
        compile_artifacts([folders[index] for index in chosen], file, EdgeTpuSettings())


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("status", "perhaps", "edgetpu.status"),
        ("prediction", {"operators": -1}, "edgetpu.prediction.operators"),
        ("compiled", {"name": "a.tflite"}, "edgetpu.compiled.sha256"),
        ("compiled", {"name": "../a.tflite", "sha256": "0" * 64, "bytes": 1}, "not a plain"),
        ("compiled", {"name": FILE, "sha256": "0" * 64, "bytes": 1}, "two of them share a name"),
    ],
)
def test_manifests_that_break_the_schema_are_rejected(folders, field, value, where):
    path = folders[0] / "manifest.json"
    manifest = json.loads(path.read_text())
    numbers = {"operators": 1, "mapped": 1, "certain": 1}
    good = {"status": "compiled", "prediction": numbers, "log": None, "compiled": None}
    manifest["files"][FILE]["edgetpu"] = {**good, field: value}
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=where):
        Artifact.open(folders[0])
