import os
import subprocess
import time
from pathlib import Path

import pytest

from common.cli import UserError
from converters.edgetpu_target.compiler import EdgeTpuSettings, find_compiler
from converters.edgetpu_target.pipeline import describe, required_compiler, summary

FILE = "deployment_int8_ptq.tflite"


def found(path, **options):
    return find_compiler(EdgeTpuSettings(compiler=str(path), **options))


def program(folder, name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def no_path(monkeypatch, tmp_path):
    """A PATH without a compiler and without Docker."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


def test_without_a_compiler_only_requiring_one_is_an_error(no_path):
    assert required_compiler(EdgeTpuSettings()) is None
    with pytest.raises(UserError, match=r"--require_full_mapping needs a compiler: .*install it"):
        required_compiler(EdgeTpuSettings(require_full_mapping=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compiler": "nowhere/compiler"}, "nowhere/compiler does not exist or cannot be executed"),
        ({"docker": "coral"}, "docker does not exist or cannot be executed"),
    ],
)
def test_a_named_program_that_does_not_exist_is_reported(no_path, settings, message):
    with pytest.raises(UserError, match=message):
        find_compiler(EdgeTpuSettings(**settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compiler": "a", "docker": "b"}, "exclude one another"),
        ({"docker": "--privileged"}, "--edgetpu_docker must name an image; received '--priv"),
        ({"docker": ""}, "--edgetpu_docker must name an image; received ''"),
        ({"timeout": 0}, "--edgetpu_timeout must be at least 1 second; received 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(UserError, match=message):
        EdgeTpuSettings(**settings)


def test_another_program_is_not_a_compiler(tmp_path):
    path = program(tmp_path, "other", "#!/bin/sh\necho other 1.2\n")
    with pytest.raises(UserError, match=r"other is not an Edge TPU compiler: .* 'other 1\.2'"):
        found(path)


def test_a_file_that_is_not_a_program_is_rejected(tmp_path):
    path = program(tmp_path, "empty", "")
    with pytest.raises(UserError, match="empty does not start"):
        found(path)


def test_a_failure_is_reported_and_leaves_the_prediction(fake_compiler, artifact_dir):
    compiler = found(fake_compiler(failure="Internal compiler error. Aborting!"))
    entry = describe(artifact_dir / FILE, compiler)
    assert (entry["status"], entry["compiler"]) == ("failed", "16.0.384591198")
    assert entry["message"].endswith("failed: Internal compiler error. Aborting!")
    assert (entry["log"], entry["compiled"]) == (None, None)
    assert entry["prediction"]["mapped"] == entry["prediction"]["operators"]
    assert "failed: edgetpu_compiler 16.0" in summary(entry)


def test_a_compiler_that_hangs_is_stopped_with_its_children(tmp_path, artifact_dir):
    started = tmp_path / "child"
    path = program(
        tmp_path,
        "hangs",
        "#!/bin/sh\necho Edge TPU Compiler version 16.0.1\n"
        f'[ "$1" = --version ] && exit\nsleep 600 &\necho $! > {started}\nwait\n',
    )
    before = time.monotonic()
    entry = describe(artifact_dir / FILE, found(path, timeout=5))
    assert time.monotonic() - before < 300
    assert entry["message"] == (
        "edgetpu_compiler was stopped after 5 seconds; allow more with --edgetpu_timeout"
    )
    child = Path("/proc", started.read_text().strip(), "stat")
    # It may stay a zombie if no parent waits for it.
    assert not child.exists() or child.read_text().split()[2] == "Z"


def test_a_container_gets_no_network_and_only_the_models(
    fake_compiler, artifact_dir, tmp_path, monkeypatch
):
    """The fake `docker` keeps its arguments and runs the fake compiler instead."""
    fake = fake_compiler()
    calls = tmp_path / "calls"
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder, "docker", f'#!/bin/sh\necho "$@" >> {calls}\nshift 15\nexec {fake} "$@"\n')
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    compiler = find_compiler(EdgeTpuSettings(docker="coral:16"))
    with compiler.compile([artifact_dir / FILE]) as (model,):
        assert model.log.on_cpu == 0
        assert model.path.stat().st_size == (artifact_dir / FILE).stat().st_size
    asked, compiled = calls.read_text().splitlines()
    assert asked.endswith("--entrypoint edgetpu_compiler coral:16 --version")
    assert compiled.startswith("run --rm --name edgetpu_compiler-")
    assert f"--network none --user {os.getuid()}:{os.getgid()} --mount type=bind," in compiled
    assert compiled.endswith("--timeout_sec 300 model0.tflite")


def test_the_fake_prints_nothing_else(fake_compiler):
    done = subprocess.run([fake_compiler(), "--version"], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("Edge TPU Compiler version 16.0.384591198\n", "")
