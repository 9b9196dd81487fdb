"""The site builds without a warning, its Python runs, and links lead to files that are there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
# What a page shows and a test cannot run says so, and why, in a comment before it.
BLOCK = re.compile(r"(<!-- not run: .+? -->\n)?```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
OUTSIDE = ("http://", "https://")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def blocks(page):
    """The page's Python, as one program: a later block goes on with the names of the former."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return "\n".join(code for not_run, code in found if not not_run)


def relative(page):
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path, digits_folder, monkeypatch):
    """Where pages are run: with a folder of images and a trained network, as they call them."""
    import keras_shufflenet

    (tmp_path / "photos").symlink_to(digits_folder)
    (tmp_path / "work").mkdir()
    trained = keras_shufflenet.ShuffleNetV2(
        0.5, input_shape=(32, 32, 3), small_images=True, classes=10, classifier_activation=None
    )
    trained.save(tmp_path / "work/model.keras")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def eager():
    """TensorFlow without graphs: tracing a few steps takes longer than running them."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=relative)
def test_a_page_s_python_runs(page, folder, eager):
    names = {"images": np.zeros((1, 224, 224, 3), np.uint8), "__name__": "page"}
    exec(compile(blocks(page), page, "exec"), names)
    if page.stem == "fine_tune":
        from converters.graph.deployment import deployment_graph
        from converters.workdir import load_trained

        tuned = load_trained(folder / "fine")
        assert tuned.labels == ["one", "two", "zero"]
        assert deployment_graph(tuned.model).ops


def test_the_site_builds_without_a_warning(tmp_path):
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package, reason=f"{package} is not installed: the extra dev has it")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    reference = (tmp_path / "site/api/networks/index.html").read_text(encoding="utf-8")
    assert "keras_shufflenet.features(backbone)" in re.sub("<[^>]+>", "", reference)


def anchors(page):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {
        re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings
    }


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_to_files_that_are_there(name):
    for target, anchor in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
        if target.startswith(OUTSIDE):
            continue
        page = ROOT / (target or name)
        assert page.exists(), f"{name}: {target}"
        assert not anchor or anchor[1:] in anchors(page), f"{name}: {target}{anchor}"


def commands():
    """By module: flags that a page gives `python -m module`, with the page's name."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for module, rest in re.findall(r"python -m ([a-z_.]+)([^\n`]*)", text):
            flags = found.setdefault(module, set())
            flags |= {(flag, relative(page)) for flag in re.findall(r"--([a-z_]+)", rest)}
    return found


COMMANDS = commands()


@pytest.mark.parametrize("module", sorted(COMMANDS))
def test_flags_of_the_pages_commands_exist(module, run_cli):
    known = re.findall(r"--(\[no\])?([a-z_]+)", run_cli(module, "--help", check=False).stdout)
    flags = {name for _, name in known} | {f"no{name}" for no, name in known if no}
    assert flags, f"python -m {module} has no flags"
    unknown = {(flag, page) for flag, page in COMMANDS[module] if flag not in flags}
    assert not unknown
