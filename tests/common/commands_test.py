import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_shufflenet
from common.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sys.executable).parent


@pytest.fixture
def shufflenet(tmp_path):
    """Runs an installed script in a folder that has a `trainers` of its own."""
    if not (SCRIPTS / "shufflenet").exists():
        pytest.skip("the package is not installed: no script `shufflenet` beside this Python")
    folder = tmp_path / "of_the_user"
    for package in ("trainers", "common", "edge"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("raise RuntimeError('the wrong package')")

    def run(*words, script="shufflenet"):
        return subprocess.run(
            [SCRIPTS / script, *map(str, words)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_all_commands_have_a_line(shufflenet):
    for words in ([], ["--help"]):
        done = shufflenet(*words)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        for name, (_, line) in COMMANDS.items():
            assert f"  {name.ljust(15)}  {line}" in lines


def test_the_version(shufflenet):
    assert shufflenet("--version").stdout == f"keras_shufflenet {keras_shufflenet.__version__}\n"


def test_an_unknown_command_is_one_line_with_the_nearest(shufflenet):
    done = shufflenet("trian", "--workdir=x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: there is no command 'trian'; did you mean 'train'? "
        "shufflenet --help lists the commands\n"
    )


@pytest.mark.parametrize("name", ["plan", "benchmark"])
def test_help_is_that_of_the_module(shufflenet, run_cli, name):
    module, _ = COMMANDS[name]
    wanted = run_cli(module, "--help", check=False).stdout
    assert wanted.count("--") > 5
    assert shufflenet(name, "--help").stdout == wanted
    assert shufflenet("--help", script=f"shufflenet-{name}").stdout == wanted


def test_a_mistake_is_one_line(shufflenet):
    done = shufflenet("report", "none.jsonl")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_workers_are_not_taken_from_the_current_folder(shufflenet, artifact_dir):
    """Each file is measured in a process of its own, which imports `edge` and `common`."""
    done = shufflenet("benchmark", f"--artifact={artifact_dir}", "--device=host", "--runs=5")
    assert done.returncode == 0, done.stderr
    assert "deployment_int8_ptq.tflite" in done.stdout


def test_every_command_stands_in_setup_and_in_build():
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    scripts = dict(re.findall(r'"(shufflenet[a-z-]*) = ([a-z.]+:[a-z]+)"', setup))
    assert scripts == {
        "shufflenet": "common.commands:main",
        **{f"shufflenet-{name}": "common.commands:script" for name in COMMANDS},
    }
    build = (ROOT / "BUILD").read_text(encoding="utf-8")
    binaries = dict(re.findall(r'name = "([a-z-]+)",\n    srcs = .*\n    main = "//(.+)",', build))
    mains = {name: path.replace(":", "/") for name, path in binaries.items()}
    assert mains.pop("shufflenet") == "common/commands.py"
    assert mains.keys() == COMMANDS.keys()
    for name, (module, _) in COMMANDS.items():
        path = module.replace(".", "/")
        assert mains[name] in (f"{path}.py", f"{path}/__main__.py")
        assert (ROOT / mains[name]).is_file()


def test_every_file_that_is_run_is_a_command():
    """Workers, which other modules start, and single experiments and benchmarks aside."""
    modules = {module for module, _ in COMMANDS.values()}
    for folder in ("trainers", "converters", "edge", "keras_shufflenet"):
        for path in (ROOT / folder).glob("*.py"):
            if '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
                assert f"{folder}.{path.stem}" in modules
