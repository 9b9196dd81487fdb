"""The site builds without a warning, its Python runs, and its links lead to existing files."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.commands import COMMANDS as BY_NAME
from experiments.harness.catalogue import EXPERIMENTS
from experiments.harness.results import load

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
# A comment before a block that a test cannot run says so, and why.
BLOCK = re.compile(r"(<!-- not run: .+? -->\n)?```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
OUTSIDE = ("http://", "https://")
# With the flags up to the end of the line, or of the code in a sentence.
COMMAND = re.compile(r"(?<![\w./-])(shufflenet |python -m )([a-z][a-z_.-]*)([^\n`]*)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SOURCE = re.compile(
    r"`((?:benchmarks|common|converters|edge|experiments|keras_shufflenet|tests|tools|trainers)/\S*?)`"
)


def blocks(page):
    """The page's Python as one program: later blocks use the names of earlier ones."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return "\n".join(code for not_run, code in found if not not_run)


def relative(page):
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path, digits_folder, monkeypatch):
    """Where pages run: a folder with images and a trained network, named as in the pages."""
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


# It trains: `make test-slow` takes it.
SLOW_PAGE = "docs/guides/fine_tune.md"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] * (relative(page) == SLOW_PAGE))
        for page in PAGES
        if blocks(page)
    ],
    ids=relative,
)
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
def test_links_lead_to_existing_files(name):
    for target, anchor in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
        if target.startswith(OUTSIDE):
            continue
        page = ROOT / (target or name)
        assert page.exists(), f"{name}: {target}"
        assert not anchor or anchor[1:] in anchors(page), f"{name}: {target}{anchor}"


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", *PAGES], ids=relative)
def test_files_of_the_repository_that_a_page_names_exist(page):
    named = SOURCE.findall(page.read_text(encoding="utf-8"))
    assert not [path for path in named if not any(ROOT.glob(path.rstrip("/")))]


def test_the_reference_lists_each_name_once():
    pages = [page.read_text(encoding="utf-8") for page in PAGES if page.parent.name == "api"]
    names = [name for text in pages for name in re.findall(r"^::: (\S+)", text, re.MULTILINE)]
    assert len(names) == len(set(names)) > 40


def commands():
    """By module, the flags that pages give it, as a command or after `python -m`, and the page."""
    found = {}
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES):
        # A command may continue after a backslash.
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for start, name, rest in COMMAND.findall(text):
            module = name if start.startswith("python") else BY_NAME.get(name, [name])[0]
            flags = found.setdefault(module, set())
            flags |= {(flag, relative(page)) for flag in re.findall(r"--([a-z_]+)", rest)}
    return found


COMMANDS = commands()
# Commands that pass the flags that they do not know on to another one.
PASSES_ON = {"trainers.launch": "trainers.train"}


@pytest.mark.parametrize("module", sorted(COMMANDS))
def test_flags_of_the_pages_commands_exist(module, run_cli):
    modules = {module, PASSES_ON.get(module, module)}
    printed = "".join(run_cli(name, "--help", check=False).stdout for name in modules)
    known = re.findall(r"--(\[no\])?([a-z_]+)", printed)
    flags = {name for _, name in known} | {f"no{name}" for no, name in known if no}
    assert flags, f"{module} has no flags"
    unknown = {(flag, page) for flag, page in COMMANDS[module] if flag not in flags}
    assert not unknown


ROW = re.compile(r"^\| \[\w+\]\(experiments/(\w+)\.md\) \|(.*)\|(.*)\|$", re.MULTILINE)


def test_the_index_of_experiments_says_what_their_results_say():
    rows = ROW.findall((ROOT / "docs/experiments.md").read_text(encoding="utf-8"))
    assert {name for name, _, _ in rows} == EXPERIMENTS.keys()
    for name, source, found in rows:
        record = load(ROOT / "docs/experiments", name)
        assert source.strip() == record["source"]
        verdicts = " ".join(record["verdicts"])
        figures = re.findall(r"\d+\.\d+x?|\d+%", found)
        assert not [figure for figure in figures if figure not in verdicts], name
