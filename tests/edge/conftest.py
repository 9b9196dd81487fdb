"""What the tests of `edge` share: records of measurements, artifacts, a browser."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from subprocess import PIPE

import pytest

from common.cli import UserError
from edge.browser import runtime

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = ROOT / "tests/fixtures/before_rooms.tar.xz"
_INT8, _COMPILED = "deployment_int8_ptq.tflite", "compiled_edgetpu.tflite"


def _record(file=_INT8, ms=1.0, accuracy=0.9, **changes):
    return {
        "date": "2026-11-20T11:26:30+00:00",
        "device": "host",
        "threads": 1,
        "artifact": "artifact",
        "model": "v2",
        "file": file,
        "graph": file.split("_")[0],
        "quantization": "int8-ptq",
        "sha256": "0" * 64,
        "bytes": 500_000,
        "accuracy": accuracy,
        "accuracy_images": 300,
        "latency_ms": {"median": ms, "p10": ms - 0.1, "p90": ms + 0.1, "runs": 50},
        "machine": {"cpu": "EPYC"},
        **changes,
    }


@pytest.fixture
def record():
    """`record(file, ms, accuracy, **changes)` makes a record as edge.benchmark writes it."""
    return _record


@pytest.fixture
def compiled_artifact(artifact_dir, tmp_path):
    """An artifact whose int8 file is "compiled": the compiled file is a copy of it."""
    folder = shutil.copytree(artifact_dir, tmp_path / "compiled")
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["files"][_INT8]
    shutil.copy(folder / _INT8, folder / _COMPILED)
    entry["edgetpu"] = {
        "status": "compiled",
        "prediction": {"operators": 1, "mapped": 1, "certain": 1},
        "log": None,
        "compiled": {"name": _COMPILED, "sha256": entry["sha256"], "bytes": entry["bytes"]},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="session")
def small_artifact(tmp_path_factory):
    """Both graphs of a network for grey images of 32 pixels, float32 and int8, with 8 samples."""
    folder = tmp_path_factory.mktemp("small")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "before_rooms/artifact"


@pytest.fixture(scope="session")
def litert_js():
    """LiteRT.js, fetched if it is not there."""
    try:
        runtime.find_runtime()
    except UserError:
        try:
            runtime.install()
        except UserError as error:
            pytest.skip(f"needs LiteRT.js (make browser): {error}")


@pytest.fixture
def new_page(browser):
    """`new_page()` opens an empty page that waits long enough for a busy machine."""

    def opened():
        page = browser.new_page()
        page.set_default_timeout(120_000)
        return page

    return opened


@contextlib.contextmanager
def _running(*words, folder):
    command = [sys.executable, "-m", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=PIPE, stderr=PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # Otherwise a failed test would wait for it.


@pytest.fixture
def running():
    """`running(module, *flags, folder=…)` is a context with a command that runs in a folder."""
    return _running


@pytest.fixture
def browser():
    """Headless Chromium of the system: playwright's own browsers are not needed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        # Its sandbox does not start as root, as in most containers.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
